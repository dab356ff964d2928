// Worker thread of bin/componentize.js: ends the whole process group when the parent is gone.
//
// The main thread may be deep in an engine's own program, where it hears nothing of its parent; the
// parent's death closes standard input, which this thread waits for. The group holds the program that
// componentize-js starts as well. The folder of the job in hand goes, too: nobody else knows it now.
import { rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { parentPort } from 'node:worker_threads';

let folder;
parentPort.on('message', (next) => (folder = next));
parentPort.unref();

const parent = new Socket({ fd: 0, readable: true, writable: false });
parent.on('error', () => undefined);
parent.on('close', () => {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  // Windows has no process groups; there the program inside ends by its own bound.
  process.kill(process.platform === 'win32' ? process.pid : -process.pid, 'SIGKILL');
});
parent.resume();
