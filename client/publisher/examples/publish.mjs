// A job in Node that tells how far it is, with ioredis alone.
//
// usage: node publish.mjs REDIS_URL TASK
import { setTimeout as sleep } from 'node:timers/promises';
import Redis from 'ioredis';

const [url, task] = process.argv.slice(2);
const db = new Redis(url);
const call = (name, ...args) => db.call('FCALL', name, 1, `progress:${task}`, ...args);
const publish = (type, payload) => call('progress_publish', type, JSON.stringify(payload));

const began = Date.now();
await call('progress_reset');
for (let step = 0; step < 20; step++) {
  await sleep(100); // the work
  await call('progress_alive', 20); // lost, if silent for 20 seconds
  await publish('progress_update', { percentage: 5 * step, stage: 'working' });
}
await publish('complete', { resultUrl: `/results/${task}`, duration: (Date.now() - began) / 1000 });
await db.quit();
