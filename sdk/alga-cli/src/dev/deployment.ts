import type { KeyObject } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { contentHash, packProject } from '../bundle/pack.js';
import { makeFolder } from '../make-folder.js';
import { declaredCapabilities } from '../manifest/manifest.js';
import type { Project } from '../project/project.js';
import type { ApiClient } from '../server/client.js';
import { upload } from '../server/publish.js';
import { Failure } from '../failure.js';
import type { Install } from '../server/types.js';
import { describePublicKey, generateKey, readPrivateKey, signBundle } from '../signing/signing.js';
import type { DevSettings } from './settings.js';
import { writeFile } from '../write-file.js';

export const DEV_TENANT = 'dev';

/**
 * Keeps one install of the project up to date on a server: publishes every build as a version of
 * its own, moves the install to it, and gives it what `alga.dev.json` says. Everything that the
 * manifest declares is granted: here the author is the administrator.
 */
export class DevDeployment {
  readonly #client: ApiClient;
  readonly #folder: string;
  readonly #publisher: string;
  #install: Install | undefined;
  #builds = 0;

  /** @param folder where keys of this deployment are kept */
  constructor(client: ApiClient, folder: string, publisher: string) {
    this.#client = client;
    this.#folder = folder;
    this.#publisher = publisher;
  }

  get install(): Install | undefined {
    return this.#install;
  }

  /** Makes tenant, publisher and signing key where they do not exist yet. */
  async prepare(): Promise<void> {
    await this.#ensure('/api/v1/tenants', { id: DEV_TENANT, name: 'Development' });
    await this.#ensure('/api/v1/publishers', { name: this.#publisher });
    const { public_key: key } = describePublicKey(await this.#key());
    const keys = `/api/v1/publishers/${encodeURIComponent(this.#publisher)}/keys`;
    await this.#ensure(keys, { public_key: key });
  }

  /** Publishes the project as it is built and installs or updates it. */
  async deploy(project: Project, settings: DevSettings): Promise<Install> {
    this.#builds += 1;
    const [core = '0.0.0'] = project.manifest.version.replace('*', '0').split(/[-+]/);
    const version = `${core}-dev.${Date.now()}.${this.#builds}`;
    const manifest = { ...project.manifest, publisher: this.#publisher, version };
    const manifestText = `${JSON.stringify(manifest, null, 2)}\n`;
    const packed = await packProject({ ...project, manifest, manifestText });
    const signature = signBundle(contentHash(packed.archive), await this.#key());
    const published = await upload(this.#client, packed.archive, signature, 'bundle.tar.zst');
    const capabilities = declaredCapabilities(project.manifest);
    const egress = [...new Set([...(project.manifest.egress ?? []), ...settings.egress])];
    this.#install = await this.#apply(published.extension.id, version, capabilities, egress);
    await this.configure(settings);
    return this.#install;
  }

  /** Sets configuration and secrets to exactly what the settings say. */
  async configure(settings: DevSettings): Promise<void> {
    const install = this.#install;
    if (install === undefined) return;
    const path = `/api/v1/installs/${encodeURIComponent(install.id)}`;
    const { config } = await this.#client.json<{ config: Record<string, string> }>(
      `${path}/config`,
    );
    const unset = Object.keys(config).filter((key) => !Object.hasOwn(settings.config, key));
    await this.#client.json(`${path}/config`, {
      method: 'PATCH',
      json: { set: settings.config, unset },
    });
    const { names } = await this.#client.json<{ names: string[] }>(`${path}/secrets`);
    for (const name of names.filter((known) => !Object.hasOwn(settings.secrets, known))) {
      await this.#client.json(`${path}/secrets/${encodeURIComponent(name)}`, { method: 'DELETE' });
    }
    for (const [name, value] of Object.entries(settings.secrets)) {
      const json = { value };
      await this.#client.json(`${path}/secrets/${encodeURIComponent(name)}`, {
        method: 'PUT',
        json,
      });
    }
  }

  async #apply(
    extension: string,
    version: string,
    capabilities: string[],
    egress: string[],
  ): Promise<Install> {
    const { installs } = await this.#client.json<{ installs: Install[] }>('/api/v1/installs');
    const existing = installs.find(({ extension_id: id }) => id === extension);
    if (existing === undefined) {
      const json = { extension, version, capabilities, egress, config: {} };
      const answer = await this.#client.json<{ install: Install }>('/api/v1/installs', {
        method: 'POST',
        json,
      });
      return answer.install;
    }
    const path = `/api/v1/installs/${encodeURIComponent(existing.id)}`;
    await this.#client.json(`${path}/update`, { method: 'POST', json: { version } });
    const { install } = await this.#client.json<{ install: Install }>(`${path}/grants`, {
      method: 'PUT',
      json: { capabilities, egress },
    });
    return install;
  }

  /** Creates something that may exist from an earlier start. */
  async #ensure(path: string, json: Record<string, string>): Promise<void> {
    try {
      await this.#client.json(path, { method: 'POST', json });
    } catch (error) {
      const exists = error instanceof Failure && error.details?.['status'] === 409;
      if (!exists) throw error;
    }
  }

  /** The key that this deployment signs with, made when there is none. */
  async #key(): Promise<KeyObject> {
    const file = join(this.#folder, 'signing.key');
    if (!existsSync(file)) {
      await makeFolder(dirname(file), 0o700);
      await writeFile(file, generateKey().privatePem, { mode: 0o600 });
    }
    return readPrivateKey(await readFile(file, 'utf8'), file);
  }
}
