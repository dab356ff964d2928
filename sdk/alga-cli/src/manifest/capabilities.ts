import { readFileSync } from 'node:fs';

import { contractFile } from '../contracts.js';

interface CapabilityFile {
  packages: Record<string, Record<string, string>>;
  default: string[];
}

const file = JSON.parse(
  readFileSync(contractFile('schema/capabilities.json'), 'utf8'),
) as CapabilityFile;

/** Package of the interfaces that new components import. */
export const PACKAGE = 'alga:extension@1.0.0';
/** Package of the interfaces of components built for the reference system. */
export const COMPAT_PACKAGE = 'alga:extension';

const byInterface = new Map(Object.entries(file.packages[PACKAGE] ?? {}));
const compatByInterface = new Map(Object.entries(file.packages[COMPAT_PACKAGE] ?? {}));

/** Capabilities that every extension has without listing them. */
export const DEFAULT_CAPABILITIES: readonly string[] = file.default;

/** All capability names, those of the reference's application included. */
export const KNOWN_CAPABILITIES: readonly string[] = [
  ...new Set([...byInterface.values(), ...compatByInterface.values()]),
];

/** The canonical name (`cap:http.fetch`) of what a manifest says, or undefined when unknown. */
export function canonicalCapability(name: string): string | undefined {
  const plain = name.trim().toLowerCase();
  const full = plain.startsWith('cap:') ? plain : `cap:${plain}`;
  return KNOWN_CAPABILITIES.includes(full) ? full : undefined;
}

/** The capability that guards an imported interface of either package. */
export function capabilityOf(packageName: string, interfaceName: string): string | undefined {
  const table = packageName === PACKAGE ? byInterface : compatByInterface;
  return table.get(interfaceName);
}

/** The interfaces of the current package that a set of capabilities opens, in WIT order. */
export function interfacesFor(capabilities: Iterable<string>): string[] {
  const wanted = new Set([...DEFAULT_CAPABILITIES, ...capabilities]);
  return [...byInterface].filter(([, capability]) => wanted.has(capability)).map(([name]) => name);
}

/** The known name that is nearest to a misspelt one, when it is near enough to suggest. */
export function nearest(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
