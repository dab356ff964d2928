import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import type { ExecuteRequest, ExecuteResponse, HostImports } from '@alga/extension-runtime';
import { transpile } from '@bytecodealliance/jco';

type Handler = (request: ExecuteRequest) => ExecuteResponse;

type Instantiate = (
  compile: (path: string) => Promise<WebAssembly.Module>,
  imports: Record<string, unknown>,
) => Promise<unknown>;

/** A component that runs in this process: every call gets a fresh instance, as on the server. */
export interface LoadedComponent {
  call(request: ExecuteRequest, imports: HostImports): Promise<ExecuteResponse>;
  close(): Promise<void>;
}

/** Turns a component into JavaScript with jco and runs it on Node's WebAssembly. */
export async function loadComponent(component: Uint8Array): Promise<LoadedComponent> {
  const { instantiate, close } = await prepare(component);
  const wasi = await wasiImports();
  return {
    call: async (request, imports) => {
      const instance = await instantiate({ ...wasi, ...hostImports(imports) });
      return (instance as { handler: Handler }).handler(request);
    },
    close,
  };
}

/** Calls a wrapped core module once, with a request as the host would write it. */
export async function callLegacy(
  component: Uint8Array,
  host: { logInfo: (line: Uint8Array) => void },
): Promise<unknown> {
  const { instantiate, close } = await prepare(component);
  try {
    const fetch = () => new Uint8Array();
    const imports = {
      'alga:legacy/host': { logInfo: host.logInfo, logError: host.logInfo, fetch },
    };
    const { guest } = (await instantiate(imports)) as {
      guest: { invoke: (request: Uint8Array) => Uint8Array };
    };
    const request = { context: { tenant_id: 't' }, http: { method: 'GET', path: '/hello' } };
    const answer = guest.invoke(new TextEncoder().encode(JSON.stringify(request)));
    return JSON.parse(new TextDecoder().decode(answer)) as unknown;
  } finally {
    await close();
  }
}

/** Compiles a component once; every `instantiate` makes a fresh instance. */
async function prepare(component: Uint8Array) {
  const { files } = await transpile(component, { name: 'component', instantiation: 'async' });
  const directory = await mkdtemp(join(tmpdir(), 'alga-run-'));
  const modules = new Map<string, WebAssembly.Module>();
  let glue = '';
  for (const [name, content] of Object.entries(files)) {
    if (name.endsWith('.wasm'))
      modules.set(name, await WebAssembly.compile(content as BufferSource));
    if (name.endsWith('component.js')) glue = Buffer.from(content).toString('utf8');
  }
  const file = join(directory, 'component.mjs');
  await writeFile(file, glue);
  const { instantiate } = (await import(pathToFileURL(file).href)) as { instantiate: Instantiate };
  const compile = async (path: string): Promise<WebAssembly.Module> => {
    const module = [...modules].find(([name]) => name.endsWith(path))?.[1];
    if (module === undefined) throw new Error(`no module ${path}`);
    return module;
  };
  return {
    instantiate: (imports: Record<string, unknown>) => instantiate(compile, imports),
    close: () => rm(directory, { recursive: true }),
  };
}

function hostImports(imports: HostImports): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(imports).map(([name, api]) => [
      `alga:extension/${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
      api,
    ]),
  );
}

/** jco's own WASI: live clock and randomness, no files, no network. */
async function wasiImports(): Promise<Record<string, unknown>> {
  const shim = (await import('@bytecodealliance/preview2-shim')) as unknown as Record<
    string,
    Record<string, unknown>
  >;
  const found: Record<string, unknown> = {};
  for (const name of ['cli', 'clocks', 'filesystem', 'io', 'random']) {
    for (const [member, api] of Object.entries(shim[name] ?? {})) {
      found[`wasi:${name}/${member.replace(/[A-Z]/g, (l) => `-${l.toLowerCase()}`)}`] = api;
    }
  }
  return found;
}
