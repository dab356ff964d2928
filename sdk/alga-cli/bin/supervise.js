// Runs a program that must not outlive the `alga` that started it, however that ends:
//
//     node supervise.js SECONDS FOLDER PROGRAM [ARGUMENT…]
//
// File descriptor 3 is a pipe that nobody writes to; the death of the parent closes it. The program then
// gets SIGTERM, and when it has ended, or after SECONDS, what is left of it and of everything that it
// started gets SIGKILL; FOLDER, unless it is empty, is removed. This process is the leader of their group
// (see src/supervised.ts) and ends as the program does.
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { setTimeout } from 'node:timers';

const [seconds, folder, program, ...options] = process.argv.slice(2);
const child = spawn(program, options, { stdio: ['inherit', 'inherit', 'inherit'] });

let orphaned = false;

function endGroup() {
  if (folder !== '') rmSync(folder, { recursive: true, force: true });
  if (process.platform !== 'win32') process.kill(-process.pid, 'SIGKILL');
  child.kill('SIGKILL');
  process.exit(1);
}

const parent = new Socket({ fd: 3, readable: true, writable: false });
parent.on('error', () => undefined);
parent.on('close', () => {
  orphaned = true;
  child.kill('SIGTERM');
  setTimeout(endGroup, Number(seconds) * 1000);
});
parent.resume();

process.on('SIGTERM', () => child.kill('SIGTERM'));
child.on('error', (error) => {
  console.error(error.message);
  process.exit(127);
});
child.on('exit', (code, signal) => {
  // Nobody asks for the status any more, and nobody else ends what the program has left behind.
  if (orphaned) endGroup();
  if (signal === null) process.exit(code);
  process.removeAllListeners('SIGTERM');
  process.kill(process.pid, signal);
});
