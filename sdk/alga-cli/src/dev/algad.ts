import type { ChildProcess } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { open, readFile, rm } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import type { Environment } from '../environment.js';
import { Failure } from '../failure.js';
import { makeFolder } from '../make-folder.js';
import { killSupervised, supervise } from '../supervised.js';
import { writeFile } from '../write-file.js';

const READY_MS = 60_000;
/** How long it may take to stop in good order. */
const STOP_SECONDS = 15;

/** The server program: `--algad`, the variable ALGAD, or `algad` in PATH. */
export function findAlgad(environment: Environment, option?: string): string | undefined {
  const { ALGAD: named, PATH: path = '' } = environment.variables;
  const explicit = option ?? (named === '' ? undefined : named);
  if (explicit !== undefined) {
    const file = resolve(environment.cwd, explicit);
    return isProgram(file) ? file : undefined;
  }
  return path
    .split(delimiter)
    .map((folder) => join(folder, 'algad'))
    .find(isProgram);
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false;
  }
}

/**
 * A server of this machine's own, as production runs it, in one process with all roles. It ends with
 * this process.
 */
export class LocalAlgad {
  readonly url: string;
  /** Token of the operator that the first start made. */
  readonly token: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, url: string, token: string) {
    this.#child = child;
    this.url = url;
    this.token = token;
  }

  /** Settles when the server has ended, by itself or by `stop()`. */
  get ended(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return Promise.resolve();
    return new Promise((done) => this.#child.once('exit', () => done()));
  }

  /**
   * Starts the server over a data folder and waits until it is ready. The folder keeps its state
   * from one start to the next. Throws a Failure with the end of the server's log.
   *
   * @param headers names of request headers that the gateway lets through beyond its own list
   */
  static async start(
    program: string,
    folder: string,
    headers: readonly string[] = [],
  ): Promise<LocalAlgad> {
    await makeFolder(folder, 0o700);
    const portFile = join(folder, 'port');
    const tokenFile = join(folder, 'bootstrap-token');
    const logFile = join(folder, 'algad.log');
    await rm(portFile, { force: true });
    const log = await open(logFile, 'w', 0o600);
    const options = ['serve', '--role', 'all', '--data', join(folder, 'data')];
    options.push('--listen', '127.0.0.1:0', '--port-file', portFile);
    options.push('--bootstrap-token-file', tokenFile);
    const config = join(folder, 'algad.toml');
    await writeFile(config, developmentConfig(headers), { mode: 0o600 });
    options.push('--config', config);
    const child = supervise(program, options, { stdout: log.fd, stderr: log.fd }, STOP_SECONDS);
    let problem: string | undefined;
    child.once('error', (error) => (problem = error.message));
    child.once('exit', (code, signal) => (problem ??= `it ended with ${String(code ?? signal)}`));
    const deadline = Date.now() + READY_MS;
    try {
      while (Date.now() < deadline && problem === undefined) {
        const url = await readUrl(portFile);
        if (url !== undefined && (await isReady(url))) {
          const token = (await readFile(tokenFile, 'utf8')).trim();
          return new LocalAlgad(child, url, token);
        }
        await sleep(50);
      }
    } finally {
      await log.close();
    }
    killSupervised(child);
    const tail = (await readFile(logFile, 'utf8')).split('\n').slice(-15).join('\n');
    throw new Failure(
      'dev.algad_failed',
      `algad did not start: ${problem ?? 'it was not ready within 60 seconds'}`,
      {
        hint: `the whole log is in ${logFile}`,
        frame: tail,
      },
    );
  }

  /** Ends the server in good order; after a while, by force. */
  async stop(): Promise<void> {
    this.#child.kill('SIGTERM');
    const force = setTimeout(() => killSupervised(this.#child), STOP_SECONDS * 1000);
    await this.ended;
    clearTimeout(force);
  }
}

/** Production's defaults, but for what the host page of `alga dev` and its requests need. */
function developmentConfig(headers: readonly string[]): string {
  return `[gateway]
extra_request_headers = ${JSON.stringify(headers)}

[runner.ui]
frame_ancestors = ["http://127.0.0.1:*", "http://localhost:*"]
`;
}

async function readUrl(portFile: string): Promise<string | undefined> {
  const text = await readFile(portFile, 'utf8').catch(() => '');
  const port = /(\d+)\s*$/.exec(text)?.[1];
  return port === undefined ? undefined : `http://127.0.0.1:${port}`;
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2000) })).ok;
  } catch {
    return false;
  }
}
