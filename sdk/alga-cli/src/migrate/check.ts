import { readComponent, wasmKind } from '../component/binary.js';
import { checkComponent } from '../component/check.js';
import { canonicalCapability, COMPAT_PACKAGE } from '../manifest/capabilities.js';
import type { Manifest } from '../manifest/manifest.js';
import { validateManifest } from '../manifest/validate.js';

/** One thing that a bundle made for the reference system needs, or that works differently here. */
export interface MigrationFinding {
  /** `blocks`: does not run; `changes`: runs, but not the same; `note`: worth knowing. */
  weight: 'blocks' | 'changes' | 'note';
  code: string;
  message: string;
  action: string;
}

/** Interfaces of the reference's application: they link here and every call is denied. */
const APPLICATION_INTERFACES = new Set(['scheduler', 'invoicing', 'clients', 'services']);
/** Imports of core modules in the reference's first ABI. */
const LEGACY_IMPORTS = new Set(['log_info', 'log_error', 'http.fetch']);
const LEGACY_EXPORTS = ['memory', 'alloc', 'handler'];

/** What the files of a bundle or a built project would need to run here. */
export async function checkMigration(
  files: ReadonlyMap<string, Uint8Array>,
): Promise<MigrationFinding[]> {
  const findings: MigrationFinding[] = [];
  const manifestBytes = files.get('manifest.json');
  const manifest = manifestBytes === undefined ? undefined : readManifest(manifestBytes, findings);
  if (manifestBytes === undefined) {
    findings.push(
      blocks(
        'migrate.no_manifest',
        'there is no manifest.json',
        'add one: alga new shows how it looks',
      ),
    );
  }
  const module = files.get('dist/main.wasm');
  if (module === undefined) {
    if ((manifest?.api?.endpoints ?? []).length > 0) {
      findings.push(
        blocks(
          'migrate.no_component',
          'endpoints are declared, but dist/main.wasm is missing',
          'build the project first',
        ),
      );
    }
  } else {
    findings.push(...(await checkModule(module, manifest)));
  }
  if ([...files.keys()].some((name) => name.startsWith('precompiled/'))) {
    findings.push({
      weight: 'note',
      code: 'migrate.precompiled',
      message: 'precompiled/ is never loaded: native code is compiled by the platform only',
      action: 'leave it out of the bundle',
    });
  }
  return findings;
}

function readManifest(bytes: Uint8Array, findings: MigrationFinding[]): Manifest | undefined {
  const text = new TextDecoder().decode(bytes);
  const result = validateManifest(text);
  if (!result.ok) {
    for (const { path, message, hint, line } of result.problems) {
      const where = path === '' ? 'manifest.json' : `manifest.json line ${line}, ${path}`;
      findings.push(blocks('migrate.manifest', `${where}: ${message}`, hint ?? 'correct it'));
    }
    return undefined;
  }
  const { manifest } = result;
  for (const name of manifest.capabilities ?? []) {
    const canonical = canonicalCapability(name);
    if (canonical === undefined || canonical === name) continue;
    findings.push({
      weight: 'note',
      code: 'migrate.capability_spelling',
      message: `the capability "${name}" is accepted as an alias`,
      action: `write "${canonical}"`,
    });
  }
  if (
    (manifest.capabilities ?? []).some((name) => canonicalCapability(name) === 'cap:http.fetch') &&
    manifest.egress === undefined
  ) {
    findings.push({
      weight: 'changes',
      code: 'migrate.egress',
      message: 'outgoing calls are denied unless an egress rule of the install allows the address',
      action: 'list the addresses under "egress", so that administrators see what to grant',
    });
  }
  return manifest;
}

async function checkModule(
  bytes: Uint8Array,
  manifest: Manifest | undefined,
): Promise<MigrationFinding[]> {
  switch (wasmKind(bytes)) {
    case 'not-wasm':
      return [
        blocks('migrate.not_wasm', 'dist/main.wasm is not WebAssembly', 'build the project again'),
      ];
    case 'core-module':
      return checkCoreModule(bytes);
    case 'component':
      return checkImports(bytes, manifest);
  }
}

async function checkCoreModule(bytes: Uint8Array): Promise<MigrationFinding[]> {
  const module = await WebAssembly.compile(bytes as BufferSource);
  const exports = WebAssembly.Module.exports(module).map(({ name }) => name);
  const missing = LEGACY_EXPORTS.filter((name) => !exports.includes(name));
  const foreign = WebAssembly.Module.imports(module).filter(
    ({ module: from, name }) => from !== 'alga' || !LEGACY_IMPORTS.has(name),
  );
  const findings: MigrationFinding[] = [
    blocks(
      'migrate.core_module',
      'dist/main.wasm is a core module; the platform runs components',
      'wrap it: alga migrate wrap dist/main.wasm; or port the handler to @alga/extension-runtime',
    ),
  ];
  if (missing.length > 0) {
    findings.push(
      blocks(
        'migrate.abi',
        `it does not export ${missing.join(', ')}`,
        'it does not follow the ABI of core modules and cannot be wrapped',
      ),
    );
  }
  for (const { module: from, name } of foreign) {
    findings.push(
      blocks(
        'migrate.unknown_import',
        `it imports ${from}.${name}`,
        'it cannot be wrapped; rebuild it without',
      ),
    );
  }
  return findings;
}

function checkImports(bytes: Uint8Array, manifest: Manifest | undefined): MigrationFinding[] {
  const findings: MigrationFinding[] = [];
  const { imports } = readComponent(bytes);
  const names = imports.filter(({ kind }) => kind === 'instance').map(({ name }) => name);
  if (names.some((name) => name.startsWith(`${COMPAT_PACKAGE}/`) && !name.includes('@'))) {
    findings.push({
      weight: 'note',
      code: 'migrate.unversioned',
      message: 'it imports the unversioned package alga:extension, which goes on working',
      action: 'build with alga build to get typed errors, configuration and storage conditions',
    });
  }
  for (const name of names) {
    const interfaceName = /^alga:extension\/([a-z0-9-]+)$/.exec(name)?.[1];
    if (interfaceName === undefined || !APPLICATION_INTERFACES.has(interfaceName)) continue;
    findings.push({
      weight: 'changes',
      code: 'migrate.application_interface',
      message: `it imports ${name}: it links, and every call is denied`,
      action: 'if the code uses it, call the application through ui-proxy or its HTTP API instead',
    });
  }
  if (manifest === undefined) return findings;
  for (const { severity, code, message, hint } of checkComponent(bytes, manifest)) {
    // A reference build imports every interface, used or not: that alone says nothing.
    if (code === 'component.undeclared_capability') continue;
    findings.push({
      weight: severity === 'error' ? 'blocks' : 'changes',
      code,
      message,
      action: hint,
    });
  }
  return findings;
}

function blocks(code: string, message: string, action: string): MigrationFinding {
  return { weight: 'blocks', code, message, action };
}
