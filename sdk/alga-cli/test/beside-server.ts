import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';

import { afterEach, beforeEach } from 'vitest';

import { main } from '../src/main.js';
import { FakeServer } from './fake-server.js';
import { temporaryFolder, testEnvironment, writeProject } from './fixture.js';

/** A component that exports `handler` and does nothing: enough to be packed and uploaded. */
const COMPONENT = Buffer.concat([
  Buffer.from('0061736d0d000100', 'hex'),
  Buffer.from([0x0b, 13, 1, 0, 7, ...Buffer.from('handler'), 1, 0, 0]),
]);

const WAITING = /^[…✔✘] Waiting for .*\n/gm;

/** A command's environment and what is typed into it. */
export interface Said {
  variables?: Record<string, string>;
  stdin?: string;
  /** Hears what the command says while it runs. */
  told?: (text: string) => void;
}

/** A folder and a server, new for each test of the suite that calls this. */
export class BesideServer {
  folder = '';
  url = '';
  server = new FakeServer();
  #remove = async () => {};

  constructor() {
    beforeEach(async () => {
      ({ path: this.folder, remove: this.#remove } = await temporaryFolder());
      this.server = new FakeServer();
      this.url = await this.server.start();
    });
    afterEach(async () => {
      await this.server.stop();
      await this.#remove();
    });
  }

  /** Runs a command in the folder, with the server's token and a tenant in its environment. */
  alga = async (argv: string[], { variables, stdin, told }: Said = {}) => {
    const loggedIn = { ALGA_URL: this.url, ALGA_TOKEN: this.server.token, ALGA_TENANT_ID: 't1' };
    const environment = testEnvironment(
      this.folder,
      { ...loggedIn, ...variables },
      stdin === undefined ? undefined : Readable.from([stdin]),
    );
    if (told !== undefined) {
      environment.stderr.write = (text) => {
        environment.err += text;
        told(text);
      };
    }
    const code = await main(argv, environment);
    // On a busy machine commands say that they wait; tests that are not about it do not hear of it.
    const err = told === undefined ? environment.err.replace(WAITING, '') : environment.err;
    return { code, ...environment, err };
  };

  /** Writes a project into the folder that is built already. */
  async writeBuiltProject(manifest: object): Promise<void> {
    await writeProject(this.folder, {
      'manifest.json': JSON.stringify(manifest, null, 2),
      'dist/.keep': '',
    });
    await writeFile(join(this.folder, 'dist', 'main.wasm'), COMPONENT);
  }
}
