// Sends events 0..count-1 with the real fluent-logger and exits 0 once every one is acknowledged (or written).
const FluentSender = require('fluent-logger/lib/sender');
const { tag, label, count, options } = JSON.parse(process.argv[2]);
const sender = new FluentSender(tag, { reconnectInterval: 100, timeout: 10, ...options });
sender.on('error', (error) => { console.error(String(error)); process.exitCode = 1; sender.end(); });
let left = count;
for (let number = 0; number < count; number += 1) {
  sender.emit(label, { number, text: `event ${number} ü`, nested: { list: [1, 2.5, null, true] } }, new Date(1795600000500), (error) => {
    if (error) { console.error(String(error)); process.exit(1); }
    left -= 1;
    if (left === 0) sender.end(null, null, () => process.exit(0));
  });
}
