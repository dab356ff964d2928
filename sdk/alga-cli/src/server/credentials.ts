import { chmod, readFile, rename, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

import { Failure } from '../failure.js';
import type { Environment } from '../environment.js';
import { makeFolder } from '../make-folder.js';
import { reasonOf } from '../system-failure.js';
import { writeFile } from '../write-file.js';

/** What the command knows about one server. */
export interface ServerCredentials {
  /** Left out where only source maps are read with a remembered account. */
  token?: string;
  /** Tenant that an operator's commands are about. */
  tenant?: string;
  /** Token that source maps are read with. */
  maps_token?: string;
}

interface CredentialsFile {
  /** Server of the last login. */
  current?: string;
  servers: Record<string, ServerCredentials>;
}

export function credentialsPath(environment: Environment): string {
  const { XDG_CONFIG_HOME: config, HOME: home } = environment.variables;
  const base = config !== undefined && config !== '' ? config : join(home || homedir(), '.config');
  return join(base, 'alga', 'credentials.json');
}

/** Reads the file; a file that others may read is refused, a missing one is empty. */
export async function readCredentials(environment: Environment): Promise<CredentialsFile> {
  const path = credentialsPath(environment);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return { servers: {} };
    throw new Failure('credentials.unreadable', `Cannot read ${path}: ${reasonOf(cause)}`, {
      hint: 'give yourself the right to it, or set ALGA_TOKEN and XDG_CONFIG_HOME',
      cause,
    });
  }
  if (process.platform !== 'win32' && ((await stat(path)).mode & 0o077) !== 0) {
    throw new Failure('credentials.readable_by_others', `Others may read ${path}`, {
      hint: `run: chmod 600 ${path} (and make a new token if others could have read it)`,
    });
  }
  try {
    const value = JSON.parse(text) as Partial<CredentialsFile>;
    const servers = value.servers ?? {};
    return value.current === undefined ? { servers } : { current: value.current, servers };
  } catch {
    throw new Failure('credentials.damaged', `${path} is not valid JSON`, {
      hint: 'delete it and run: alga login',
    });
  }
}

/** Remembers a login. The file is created readable for its owner only, and replaced as a whole. */
export async function saveCredentials(
  environment: Environment,
  url: string,
  credentials: ServerCredentials | undefined,
): Promise<string> {
  const path = credentialsPath(environment);
  const file = await readCredentials(environment);
  const others = Object.entries(file.servers).filter(([known]) => known !== url);
  file.servers = Object.fromEntries(others);
  if (credentials !== undefined) {
    file.servers[url] = credentials;
    file.current = url;
  } else if (file.current === url) {
    delete file.current;
  }
  await makeFolder(dirname(path), 0o700);
  const temporary = `${path}.partial`;
  await writeFile(temporary, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
  await chmod(temporary, 0o600);
  await rename(temporary, path);
  return path;
}
