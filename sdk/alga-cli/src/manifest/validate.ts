import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import type * as Ajv from 'ajv/dist/2020.js';
import type { ErrorObject, ValidateFunction } from 'ajv/dist/2020.js';
import { findNodeAtLocation, parseTree, type Node, type ParseError } from 'jsonc-parser';

import { contractFile } from '../contracts.js';
import { canonicalCapability, KNOWN_CAPABILITIES, nearest } from './capabilities.js';
import { egressRuleProblem } from './egress.js';
import type { Manifest } from './manifest.js';

/** One thing wrong with a manifest. */
export interface ManifestProblem {
  /** JSON pointer of the member; a missing member is named where it should be. */
  path: string;
  message: string;
  hint?: string;
  /** Position in the text, starting at 1. */
  line: number;
  column: number;
}

export type ManifestResult =
  { ok: true; manifest: Manifest } | { ok: false; problems: ManifestProblem[] };

interface SchemaObject {
  properties: Record<string, unknown>;
}

const schema = JSON.parse(
  readFileSync(contractFile('schema/manifest.schema.json'), 'utf8'),
) as SchemaObject;

let compiled: ValidateFunction | undefined;

/** Loaded and compiled when first needed: most commands read no manifest and start faster without. */
function schemaCheck(): ValidateFunction {
  if (compiled !== undefined) return compiled;
  const { Ajv2020 } = createRequire(import.meta.url)('ajv/dist/2020.js') as typeof Ajv;
  compiled = new Ajv2020({ allErrors: true, strict: false, validateFormats: false }).compile(
    schema,
  );
  return compiled;
}

/** Parses and checks the text of a manifest. Problems come in the order of the text. */
export function validateManifest(text: string): ManifestResult {
  try {
    return validate(text);
  } catch (error) {
    // No parser goes deeper than its stack.
    if (!(error instanceof RangeError)) throw error;
    const problem = { path: '', message: 'is nested too deeply', line: 1, column: 1 };
    return { ok: false, problems: [problem] };
  }
}

function validate(text: string): ManifestResult {
  const syntax: ParseError[] = [];
  const tree = parseTree(text, syntax, { disallowComments: true, allowTrailingComma: false });
  const first = syntax[0];
  if (tree === undefined || first !== undefined) {
    return { ok: false, problems: [syntaxProblem(text, first)] };
  }
  const value: unknown = JSON.parse(text);
  const problems = [...schemaProblems(value), ...meaningProblems(value)].map((problem) => ({
    ...problem,
    ...position(text, locate(tree, problem.path)),
  }));
  if (problems.length === 0) return { ok: true, manifest: value as Manifest };
  problems.sort((a, b) => a.line - b.line || a.column - b.column);
  return { ok: false, problems };
}

type Found = Omit<ManifestProblem, 'line' | 'column'>;

function syntaxProblem(text: string, error: ParseError | undefined): ManifestProblem {
  const place = position(text, error?.offset ?? 0);
  if (text.startsWith('\ufeff')) {
    const hint = 'save the file as UTF-8 without one';
    return { path: '', message: 'begins with a byte order mark', hint, ...place };
  }
  const message =
    text.trim() === ''
      ? 'is empty'
      : 'is not valid JSON (comments and trailing commas are not allowed)';
  return { path: '', message, ...place };
}

function schemaProblems(value: unknown): Found[] {
  const check = schemaCheck();
  if (check(value)) return [];
  const errors = (check.errors ?? []).filter(
    (error) => error.keyword !== 'anyOf' && !(error.keyword === 'enum' && inCapability(error)),
  );
  return errors.map(toProblem);
}

function inCapability(error: ErrorObject): boolean {
  return error.instancePath.startsWith('/capabilities/');
}

function toProblem(error: ErrorObject): Found {
  const params = error.params as Record<string, unknown>;
  const member = (name: string) => `${error.instancePath}/${String(params[name])}`;
  switch (error.keyword) {
    case 'required': {
      const name = String(params['missingProperty']);
      const example = EXAMPLES[name];
      return {
        path: member('missingProperty'),
        message: `"${name}" is missing`,
        ...(example === undefined ? {} : { hint: `add  "${name}": ${example}` }),
      };
    }
    case 'additionalProperties': {
      const name = String(params['additionalProperty']);
      const known = error.instancePath === '' ? Object.keys(schema.properties) : [];
      const near = nearest(name, known);
      return {
        path: member('additionalProperty'),
        message: `"${name}" is not a member of the manifest`,
        hint: near === undefined ? `remove "${name}"` : `did you mean "${near}"?`,
      };
    }
    case 'propertyNames':
      return { path: member('propertyName'), message: 'is not an acceptable name' };
    case 'type':
      return { path: error.instancePath, ...typeMessage(error) };
    case 'pattern':
      return { path: error.instancePath, ...patternMessage(error.instancePath) };
    default:
      return { path: error.instancePath, message: error.message ?? 'is not valid' };
  }
}

const TYPES: Record<string, string> = {
  string: 'a text, in quotation marks',
  array: 'a list, in [ ]',
  object: 'an object, in { }',
  boolean: 'true or false',
  number: 'a number',
  integer: 'a whole number',
};

/** What is there in place of what should be, and how the right thing looks where that is known. */
function typeMessage(error: ErrorObject): { message: string; hint?: string } {
  const wanted = String((error.params as { type: unknown }).type);
  const [, name = ''] = /\/([a-zA-Z]+)(?:\/[^/]*)?$/.exec(error.instancePath) ?? [];
  const example = TYPE_EXAMPLES[name] ?? EXAMPLES[name];
  return {
    message: `must be ${TYPES[wanted] ?? wanted}`,
    ...(example === undefined ? {} : { hint: `for example  "${name}": ${example}` }),
  };
}

const TYPE_EXAMPLES: Record<string, string> = {
  capabilities: '["cap:http.fetch"]',
  egress: '["https://api.example.com"]',
  config: '{ "region": { "description": "Data centre", "required": true } }',
  secrets: '{ "api_key": { "description": "Key of the API", "required": true } }',
  endpoints: '[{ "method": "GET", "path": "/hello" }]',
  api: '{ "endpoints": [{ "method": "GET", "path": "/hello" }] }',
  ui: '{ "type": "iframe", "entry": "ui/index.html" }',
};

const EXAMPLES: Record<string, string> = {
  name: '"com.example.my-extension"',
  version: '"1.0.0"',
  runtime: '"wasm-js@1"',
  entry: '"ui/index.html"',
};

function patternMessage(path: string): { message: string; hint?: string } {
  const rules: [RegExp, string, string?][] = [
    [/^\/version$/, 'must be a version like 1.2.3 (or 1.2.* to take the next free patch)'],
    [/^\/runtime$/, 'must name a runtime and its version', 'write "runtime": "wasm-js@1"'],
    [/^\/name$/, 'may hold letters, digits and . _ - @ / only, and starts with a letter or digit'],
    [/\/method$/, 'must be GET, POST, PUT, PATCH, DELETE, OPTIONS or HEAD'],
    [/\/path$/, 'must be a path without white space, query or ".."'],
    [/\/(entry|sbom|handler)$/, 'must be a path inside the bundle, without ".." and leading "/"'],
    [/^\/capabilities\//, 'is empty'],
  ];
  const rule = rules.find(([where]) => where.test(path));
  if (rule === undefined) return { message: 'has the wrong form' };
  return rule[2] === undefined ? { message: rule[1] } : { message: rule[1], hint: rule[2] };
}

/** What the schema cannot say. Works on whatever shape the value has. */
function meaningProblems(value: unknown): Found[] {
  if (typeof value !== 'object' || value === null) return [];
  const manifest = value as Record<string, unknown>;
  return [
    ...capabilityProblems(manifest['capabilities']),
    ...egressProblems(manifest['egress']),
    ...endpointProblems(manifest['api']),
  ];
}

function capabilityProblems(value: unknown): Found[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((name: unknown, index) => {
    if (typeof name !== 'string' || name.trim() === '' || canonicalCapability(name)) return [];
    const near = nearest(name, KNOWN_CAPABILITIES);
    const hint =
      near === undefined ? `known are ${KNOWN_CAPABILITIES.join(', ')}` : `did you mean "${near}"?`;
    return [{ path: `/capabilities/${index}`, message: `unknown capability "${name}"`, hint }];
  });
}

function egressProblems(value: unknown): Found[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((rule: unknown, index) => {
    const message = typeof rule === 'string' ? egressRuleProblem(rule) : undefined;
    const hint = 'for example "https://api.example.com" or "GET https://*.example.com/v1/"';
    return message === undefined ? [] : [{ path: `/egress/${index}`, message, hint }];
  });
}

function endpointProblems(api: unknown): Found[] {
  const endpoints: unknown = (api as { endpoints?: unknown } | undefined | null)?.endpoints;
  if (!Array.isArray(endpoints)) return [];
  const seen = new Map<string, number>();
  return endpoints.flatMap((endpoint: unknown, index) => {
    const { method, path } = (endpoint ?? {}) as { method?: unknown; path?: unknown };
    if (typeof method !== 'string' || typeof path !== 'string') return [];
    const key = `${method.toUpperCase()} ${path.startsWith('/') ? path : `/${path}`}`;
    const earlier = seen.get(key);
    if (earlier === undefined) {
      seen.set(key, index);
      return [];
    }
    const message = `${key} is declared already (endpoint ${earlier})`;
    return [{ path: `/api/endpoints/${index}`, message, hint: 'remove one of the two' }];
  });
}

/** Offset of the member, or of the nearest parent that exists. */
function locate(tree: Node, pointer: string): number {
  const keys = pointer
    .split('/')
    .slice(1)
    .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
  for (let depth = keys.length; depth > 0; depth -= 1) {
    const path = keys.slice(0, depth).map((key) => (/^\d+$/.test(key) ? Number(key) : key));
    const node = findNodeAtLocation(tree, path);
    if (node !== undefined) return node.offset;
  }
  return tree.offset;
}

function position(text: string, offset: number | { line: number; column: number }) {
  if (typeof offset !== 'number') return offset;
  const before = text.slice(0, offset);
  const line = before.split('\n').length;
  return { line, column: offset - before.lastIndexOf('\n') };
}
