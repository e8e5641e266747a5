/* Whether integers repeat, by one bit for each that there may be. The caller is jobs/native/bitmap.py. */
#include <stdbool.h>
#include <stdint.h>

enum { FAR = 16 }; /* values between fetching a bit and looking at it */

/* Set the bit of each value, counted from `low`; how many were not set before, -1 where one is out of range. */
int64_t sluice_bitmap_add(uint64_t *bits, int64_t low, int64_t high, const int64_t *values, int64_t count) {
    int64_t fresh = 0;
    for (int64_t i = 0; i < count; i++) {
        if (values[i] < low || values[i] > high) return -1;
        if (i + FAR < count && values[i + FAR] >= low) {
            uint64_t far = (uint64_t)values[i + FAR] - (uint64_t)low;
            __builtin_prefetch(&bits[far >> 6], 1);
        }
        uint64_t place = (uint64_t)values[i] - (uint64_t)low, bit = (uint64_t)1 << (place & 63);
        fresh += !(bits[place >> 6] & bit);
        bits[place >> 6] |= bit;
    }
    return fresh;
}
