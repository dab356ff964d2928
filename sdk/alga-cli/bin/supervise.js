// Runs a program that must not outlive the `alga` that started it, however that ends:
//
//     node supervise.js SECONDS PROGRAM [ARGUMENT…]
//
// File descriptor 3 is a pipe that nobody writes to; the death of the parent closes it. The program then
// gets SIGTERM, and after SECONDS it and everything that it started get SIGKILL. This process is the
// leader of their group (see src/supervised.ts) and ends as the program does.
import { spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { setTimeout } from 'node:timers';

const [seconds, program, ...options] = process.argv.slice(2);
const child = spawn(program, options, { stdio: ['ignore', 'inherit', 'inherit'] });

const endGroup = () =>
  process.platform === 'win32' ? child.kill('SIGKILL') : process.kill(-process.pid, 'SIGKILL');

const parent = new Socket({ fd: 3, readable: true, writable: false });
parent.on('error', () => undefined);
parent.on('close', () => {
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
  if (signal === null) process.exit(code);
  process.removeAllListeners('SIGTERM');
  process.kill(process.pid, signal);
});
