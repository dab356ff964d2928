import { parse, type AnyNode, type MemberExpression } from 'acorn';

import type { SourceMap } from '../source-map.js';
import type { Bundle } from './bundle.js';

/**
 * What programs for the web use and QuickJS components do not have, or have only in part, although
 * StarlingMonkey has it. test/engines.test.ts holds this list to the table of
 * sdk/docs/javascript-compatibility.md, tests/e2e/sdk_engines_test.py the table to both engines.
 */
export const LACKING_GLOBALS = [
  'AbortController',
  'AbortSignal',
  'Blob',
  'ByteLengthQueuingStrategy',
  'CompressionStream',
  'CountQueuingStrategy',
  'CryptoKey',
  'CustomEvent',
  'DecompressionStream',
  'Event',
  'EventTarget',
  'File',
  'FormData',
  'ReadableStream',
  'SubtleCrypto',
  'TransformStream',
  'WritableStream',
  'structuredClone',
] as const;

/** There, but less than the standard: `--engine auto` keeps away from them. */
export const PARTIAL_GLOBALS = ['URL'] as const;

/** Missing from both engines: nothing to choose by, and worth a warning. */
export const MISSING_EVERYWHERE = ['Intl', 'Temporal', 'WebAssembly'] as const;

/** Methods that lead to what QuickJS lacks, whatever they are called on. */
const LACKING_METHODS: Record<string, string> = {
  getReader: 'streams (.getReader)',
  pipeThrough: 'streams (.pipeThrough)',
  pipeTo: 'streams (.pipeTo)',
  formData: 'FormData (.formData)',
  blob: 'Blob (.blob)',
};

/** A use of something in the author's files or in a package. */
export interface Use {
  what: string;
  file: string;
  line: number;
}

const MARK = '__alga_lacks_';

/**
 * For esbuild's `define`: replaces exactly the references to these globals, wherever no variable of
 * that name is in scope, by names that `findUses` recognises.
 */
export function marks(): Record<string, string> {
  const names = [...LACKING_GLOBALS, ...PARTIAL_GLOBALS, ...MISSING_EVERYWHERE];
  return Object.fromEntries(
    names.flatMap((name) =>
      [name, `globalThis.${name}`, `self.${name}`].map((text) => [text, `${MARK}${name}`]),
    ),
  );
}

/** What a bundle that was made with `marks()` uses, in order, each thing once per file. */
export function findUses(bundle: Bundle, map: SourceMap): Use[] {
  const uses: Use[] = [];
  const tree = parse(bundle.code, { ecmaVersion: 'latest', sourceType: 'module', locations: true });
  walk(tree, (node, parent) => {
    const what = lackedBy(node, parent);
    if (what === undefined || node.loc == null) return;
    const at = map.original(node.loc.start.line, node.loc.start.column + 1);
    // The library's own modules know both engines.
    if (at === undefined || /(^|\/)(@alga\/extension-runtime|\.alga)\//.test(at.file)) return;
    if (uses.some((use) => use.what === what && use.file === at.file)) return;
    uses.push({ what, file: at.file, line: at.line });
  });
  return uses;
}

function lackedBy(node: AnyNode, parent: AnyNode | undefined): string | undefined {
  if (node.type === 'Identifier' && node.name.startsWith(MARK)) {
    // `typeof X` asks whether it is there.
    const asks = parent?.type === 'UnaryExpression' && parent.operator === 'typeof';
    return asks ? undefined : node.name.slice(MARK.length);
  }
  if (
    isMember(node, 'subtle') &&
    (isGlobal(node.object, 'crypto') || isMember(node.object, 'crypto'))
  ) {
    return 'crypto.subtle';
  }
  if (node.type === 'CallExpression' && node.callee.type === 'MemberExpression') {
    const { property } = node.callee;
    return property.type === 'Identifier' ? LACKING_METHODS[property.name] : undefined;
  }
  if (node.type === 'NewExpression' && isGlobal(node.callee, 'TextDecoder')) {
    return otherEncoding(node.arguments[0]);
  }
  return undefined;
}

function isMember(node: AnyNode, name: string): node is MemberExpression {
  return (
    node.type === 'MemberExpression' &&
    !node.computed &&
    node.property.type === 'Identifier' &&
    node.property.name === name
  );
}

function isGlobal(node: AnyNode, name: string): boolean {
  return node.type === 'Identifier' && node.name === name;
}

/** An encoding that is named, or cannot be known here. */
function otherEncoding(label: AnyNode | undefined): string | undefined {
  if (label === undefined) return undefined;
  const known = label.type === 'Literal' && /^\s*utf-?8\s*$/i.test(String(label.value));
  return known ? undefined : 'TextDecoder for other encodings than UTF-8';
}

function walk(
  node: AnyNode,
  visit: (node: AnyNode, parent: AnyNode | undefined) => void,
  parent?: AnyNode,
): void {
  visit(node, parent);
  for (const value of Object.values(node) as unknown[]) {
    for (const child of Array.isArray(value) ? (value as unknown[]) : [value]) {
      if (isNode(child)) walk(child, visit, node);
    }
  }
}

function isNode(value: unknown): value is AnyNode {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value;
}

/** Whether a use decides against QuickJS; the others are missing from both engines. */
export function onlyStarlingMonkey({ what }: Use): boolean {
  return !(MISSING_EVERYWHERE as readonly string[]).includes(what);
}
