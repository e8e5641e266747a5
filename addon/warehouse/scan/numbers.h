/* JSON numbers: read exactly, or told to be too hard for this kernel.
 *
 * A double is rounded correctly: by one operation on exact operands where that suffices, else by 128-bit
 * integers, else by the C library in the C locale.
 */
#ifndef SLUICE_NUMBERS_H
#define SLUICE_NUMBERS_H

#include <float.h>
#include <locale.h>
#ifdef __APPLE__
#include <xlocale.h>
#endif
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned __int128 wide;

enum { MAX_DIGITS = 19, MAX_TEN = 27, LONGEST_NUMBER = 400 };
#define EXACT_INTEGERS ((uint64_t)1 << 53)

typedef struct {
    const uint8_t *start, *end;
    uint64_t digits;   /* without point, sign and exponent; meaningless when there are more than MAX_DIGITS */
    int32_t count;     /* of digits from the first one that is not zero */
    int32_t fraction;  /* digits behind the point */
    int32_t ten;       /* the number is digits * 10^ten */
    bool negative, integer, exponent;
} number;

static const uint64_t FIVES[MAX_TEN + 1] = {
    1ULL, 5ULL, 25ULL, 125ULL, 625ULL, 3125ULL, 15625ULL, 78125ULL, 390625ULL, 1953125ULL, 9765625ULL,
    48828125ULL, 244140625ULL, 1220703125ULL, 6103515625ULL, 30517578125ULL, 152587890625ULL,
    762939453125ULL, 3814697265625ULL, 19073486328125ULL, 95367431640625ULL, 476837158203125ULL,
    2384185791015625ULL, 11920928955078125ULL, 59604644775390625ULL, 298023223876953125ULL,
    1490116119384765625ULL, 7450580596923828125ULL,
};
static const double TENS[23] = {
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
};

static inline bool is_digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

/* Read a number by JSON's grammar; NULL when there is none at p. What follows it is the caller's to check. */
static inline const uint8_t *read_number(const uint8_t *p, const uint8_t *end, number *out) {
    uint64_t digits = 0;
    int32_t count = 0, fraction = 0, exponent = 0;
    out->start = p;
    out->integer = true;
    out->exponent = false;
    out->negative = p < end && *p == '-';
    p += out->negative;
    if (p >= end || !is_digit(*p)) return NULL;
    if (*p == '0') {
        p++;
        if (p < end && is_digit(*p)) return NULL;
    } else {
        for (; p < end && is_digit(*p); p++, count++) digits = digits * 10 + (uint64_t)(*p - '0');
    }
    if (p < end && *p == '.') {
        const uint8_t *first = ++p;
        for (; p < end && is_digit(*p); p++) {
            digits = digits * 10 + (uint64_t)(*p - '0');
            count += count || *p != '0';
        }
        if (p == first || p - first > LONGEST_NUMBER) return NULL;
        fraction = (int32_t)(p - first);
        out->integer = false;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        bool below = ++p < end && *p == '-';
        if (p < end && (*p == '-' || *p == '+')) p++;
        if (p >= end || !is_digit(*p)) return NULL;
        for (; p < end && is_digit(*p); p++) {
            if (exponent < 100000) exponent = exponent * 10 + (*p - '0');
        }
        if (below) exponent = -exponent;
        out->integer = false;
        out->exponent = true;
    }
    out->end = p;
    out->digits = digits;
    out->count = count;
    out->fraction = fraction;
    out->ten = exponent - fraction;
    return p;
}

/* 2^power as a double; the power is far from the limits of the type. */
static inline double two_to(int power) {
    uint64_t bits = (uint64_t)(power + 1023) << 52;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Round value * 2^power, and a bit more when there is a rest, to the nearest double, ties to even. */
static inline double rounded(uint64_t value, bool rest, int power) {
    int shift = 64 - __builtin_clzll(value) - 53;
    if (shift > 0) {
        uint64_t kept = value >> shift, gone = value & (((uint64_t)1 << shift) - 1);
        uint64_t half = (uint64_t)1 << (shift - 1);
        kept += gone > half || (gone == half && (rest || (kept & 1)));
        return (double)kept * two_to(power + shift);
    }
    return (double)value * two_to(power); /* only without a rest: see the callers */
}

/* digits * 10^ten, correctly rounded, for |ten| <= MAX_TEN. */
static inline double decimal(uint64_t digits, int ten) {
    if (digits == 0) return 0.0;
#if FLT_EVAL_METHOD == 0
    if (digits <= EXACT_INTEGERS && ten >= -22 && ten <= 22) {
        return ten < 0 ? (double)digits / TENS[-ten] : (double)digits * TENS[ten];
    }
#endif
    if (ten < 0) {
        int up = __builtin_clzll(digits), down = __builtin_clzll(FIVES[-ten]);
        uint64_t divisor = FIVES[-ten] << down;
        wide dividend = (wide)(digits << up) << 63; /* so the quotient has 63 or 64 bits */
        uint64_t quotient = (uint64_t)(dividend / divisor);
        bool rest = (wide)quotient * divisor != dividend;
        return rounded(quotient, rest, ten - 63 - up + down);
    }
    wide product = (wide)digits * FIVES[ten];
    uint64_t high = (uint64_t)(product >> 64);
    if (high == 0) return rounded((uint64_t)product, false, ten);
    int shift = 64 - __builtin_clzll(high);
    bool rest = (product & (((wide)1 << shift) - 1)) != 0;
    return rounded((uint64_t)(product >> shift), rest, ten + shift);
}

/* What few numbers need: more digits or a larger exponent. False when it is too long even for that. */
static bool library_double(const number *n, locale_t c_locale, double *out) {
    char text[LONGEST_NUMBER + 1];
    size_t length = (size_t)(n->end - n->start);
    if (length > LONGEST_NUMBER || c_locale == (locale_t)0) return false;
    memcpy(text, n->start, length);
    text[length] = 0;
    *out = strtod_l(text, NULL, c_locale);
    return true;
}

/* The value as a double column keeps it: false when it is for the slow way to say whether it fits. */
static inline bool exact_double(const number *n, locale_t c_locale, double *out) {
    double value;
    if (n->integer) {
        if (n->count > MAX_DIGITS || n->digits >= EXACT_INTEGERS) return false;
        value = (double)n->digits;
        *out = n->negative && n->digits ? -value : value;
        return true;
    }
    if (n->count <= MAX_DIGITS && n->ten >= -MAX_TEN && n->ten <= MAX_TEN) {
        value = decimal(n->digits, n->ten);
        if (n->negative) value = -value;
    } else if (!library_double(n, c_locale, &value)) {
        return false;
    }
    *out = value;
    return fabs(value) < (double)EXACT_INTEGERS;
}

/* The value as a long column keeps it. */
static inline bool exact_long(const number *n, int64_t *out) {
    if (!n->integer || n->count > MAX_DIGITS) return false;
    if (n->digits > (uint64_t)INT64_MAX + n->negative) return false;
    *out = (int64_t)(n->negative ? 0 - n->digits : n->digits);
    return true;
}

/* Whether the digits are the shortest ones that read back as the same double, and the nearest of those.
 *
 * Up to 15 digits always are. Of 16 and 17 it is tried: no decimal with a digit less may read the same, and
 * |digits * 10^-f - value| must be below half a unit of the last digit, in integers.
 */
static inline bool is_shortest(uint64_t digits, int count, int fraction) {
    if (count <= 15) return true;
    if (count > 17 || fraction > MAX_TEN - 1) return false;
    double value = decimal(digits, -fraction);
    if (decimal(digits / 10, 1 - fraction) == value || decimal(digits / 10 + 1, 1 - fraction) == value) {
        return false;
    }
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint64_t mantissa = bits & ((EXACT_INTEGERS >> 1) - 1);
    if (mantissa == 0) return false; /* a power of two: its neighbours are not equally far */
    mantissa |= EXACT_INTEGERS >> 1;
    int shift = 1075 - (int)(bits >> 52) - fraction;
    if (shift <= 0 || shift > 63) return false;
    wide written = (wide)digits << shift, meant = (wide)mantissa * FIVES[fraction];
    wide apart = written > meant ? written - meant : meant - written;
    return apart < (wide)1 << (shift - 1);
}

/* Whether DuckDB prints the number as it is written; what it says of "-0" is left to the caller. */
static inline bool prints_as_written(const number *n) {
    if (n->integer) return n->count <= MAX_DIGITS;
    if (n->exponent || n->end - n->start > 24) return false;
    if (n->digits == 0) return n->fraction == 1;
    if (n->count > 17) return false;
    if (n->end[-1] == '0') return n->fraction == 1 && n->count <= 15; /* 12.0, but not 1.50 */
    if (n->count - n->fraction > 15 || n->count - n->fraction < -3) return false; /* 1e15 and more; below 1e-4 */
    return is_shortest(n->digits, n->count, n->fraction);
}

#endif
