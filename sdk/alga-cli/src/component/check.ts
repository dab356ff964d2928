import {
  capabilityOf,
  COMPAT_PACKAGE,
  DEFAULT_CAPABILITIES,
  PACKAGE,
} from '../manifest/capabilities.js';
import { declaredCapabilities, type Manifest } from '../manifest/manifest.js';
import { orDamaged, readComponent } from './binary.js';
import { beyondSlots, slotNeeds } from './slots.js';

export interface ComponentFinding {
  severity: 'error' | 'warning';
  code: string;
  message: string;
  hint: string;
}

const COMPAT_BUILD_HINT =
  'rebuild with alga build, or leave out --disable all in jco componentize (disable only http and fetch-event)';

/**
 * Compares what a component imports with what its manifest declares, in both directions. Mirrors
 * what publishing checks, so that its refusals are seen before.
 */
export function checkComponent(bytes: Uint8Array, manifest: Manifest): ComponentFinding[] {
  const { imports, exports } = readComponent(bytes);
  const findings: ComponentFinding[] = [];
  const opened = new Set<string>();
  // A wrapped core module: its adapter imports one interface for everything.
  const legacy = exports.some(({ name }) => name.startsWith('alga:legacy/guest@'));
  if (legacy) return [];
  for (const { name, kind } of imports) {
    if (kind === 'type') continue;
    const parts = /^([a-z0-9-]+:[a-z0-9-]+)\/([a-z0-9-]+)(?:@(\d+\.\d+\.\d+.*))?$/.exec(name);
    const [, packageName = '', interfaceName = '', version] = parts ?? [];
    if (packageName.startsWith('wasi:')) {
      findings.push(...wasiFindings(name, packageName));
    } else if (packageName === COMPAT_PACKAGE) {
      const family = version === undefined ? COMPAT_PACKAGE : PACKAGE;
      const capability = capabilityOf(family, interfaceName);
      if (capability !== undefined) opened.add(capability);
      else if (interfaceName !== 'types') findings.push(unknownImport(name));
    } else {
      findings.push(unknownImport(name));
    }
  }
  if (!exports.some(({ name, kind }) => name === 'handler' && kind === 'function')) {
    findings.push({
      severity: 'error',
      code: 'component.no_handler',
      message: 'the component does not export the function "handler"',
      hint: 'export default handler(…) from the entry module and run alga build',
    });
  }
  findings.push(...slotFindings(bytes));
  return [...findings, ...capabilityFindings(opened, manifest), ...frozenFindings(imports)];
}

/** What publishing refuses because no runner could load it. */
function slotFindings(bytes: Uint8Array): ComponentFinding[] {
  return beyondSlots(orDamaged(() => slotNeeds(bytes))).map((text) => ({
    severity: 'error',
    code: 'component.beyond_slots',
    message: `no runner can load the component: an instance would need ${text}`,
    hint: 'link the core modules into fewer, or compose fewer components into one',
  }));
}

function unknownImport(name: string): ComponentFinding {
  return {
    severity: 'error',
    code: 'component.unknown_import',
    message: `the component imports "${name}", which the runtime does not offer`,
    hint: 'remove the dependency that needs it, or rebuild with alga build',
  };
}

function wasiFindings(name: string, packageName: string): ComponentFinding[] {
  if (packageName === 'wasi:sockets') return [unknownImport(name)];
  if (packageName !== 'wasi:http') return [];
  return [
    {
      severity: 'warning',
      code: 'component.wasi_http',
      message: `the component imports "${name}"; it is denied unless cap:http.fetch is granted`,
      hint: 'use http.fetch of the handler, and rebuild with alga build',
    },
  ];
}

function capabilityFindings(opened: ReadonlySet<string>, manifest: Manifest): ComponentFinding[] {
  const declared = new Set(declaredCapabilities(manifest));
  const defaults = new Set(DEFAULT_CAPABILITIES);
  const undeclared = [...opened].filter((name) => !declared.has(name) && !defaults.has(name));
  const unused = [...declared].filter((name) => !opened.has(name) && !defaults.has(name));
  return [
    ...undeclared.map((name) => ({
      severity: 'warning' as const,
      code: 'component.undeclared_capability',
      message: `the component imports what ${name} guards, but the manifest does not declare it: calls are denied`,
      hint: `add this line to "capabilities" in manifest.json:  "${name}"`,
    })),
    ...unused.map((name) => ({
      severity: 'warning' as const,
      code: 'component.unused_capability',
      message: `the manifest declares ${name}, but the component imports nothing that it guards`,
      hint: `remove this line from "capabilities" in manifest.json:  "${name}"`,
    })),
  ];
}

/** A JavaScript component that was built with its clock or randomness off shows by missing imports. */
function frozenFindings(imports: { name: string }[]): ComponentFinding[] {
  const has = (prefix: string) => imports.some(({ name }) => name.startsWith(prefix));
  if (has('wasi:random/') && has('wasi:clocks/')) return [];
  if (has('wasi:') || !has(COMPAT_PACKAGE)) return [];
  return [
    {
      severity: 'warning',
      code: 'component.frozen_clock_and_random',
      message:
        'the component imports no clock and no random numbers: if it was built from JavaScript, Date.now() and crypto.randomUUID() give the same values in every request',
      hint: COMPAT_BUILD_HINT,
    },
  ];
}
