import { Failure } from '../failure.js';
import { Reader } from './reader.js';

/** What a component asks for and offers, read from the binary itself. */
export interface ComponentShape {
  imports: { name: string; kind: ExternKind }[];
  exports: { name: string; kind: ExternKind }[];
}

export type ExternKind = 'module' | 'function' | 'value' | 'type' | 'component' | 'instance';

export type WasmKind = 'component' | 'core-module' | 'not-wasm';

/** Whether bytes are a component, a core module, or neither, by their first eight bytes. */
export function wasmKind(bytes: Uint8Array): WasmKind {
  const magic = [0x00, 0x61, 0x73, 0x6d];
  if (bytes.length < 8 || magic.some((byte, index) => bytes[index] !== byte)) return 'not-wasm';
  const layer = (bytes[6] ?? 0) | ((bytes[7] ?? 0) << 8);
  if (layer === 1) return 'component';
  return layer === 0 ? 'core-module' : 'not-wasm';
}

const SECTION = { customName: 0, import: 10, export: 11 } as const;
const KINDS: readonly ExternKind[] = [
  'module',
  'function',
  'value',
  'type',
  'component',
  'instance',
];

/**
 * Reads the top-level import and export sections of a component (component model binary format,
 * "Imports and Exports"). Throws a Failure for a truncated or malformed binary; nested components
 * are skipped, so the cost does not depend on them.
 */
export function readComponent(bytes: Uint8Array): ComponentShape {
  return orDamaged(() => readShape(bytes));
}

/** Reads something of a component; what is wrong with the binary becomes a Failure. */
export function orDamaged<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Failure('component.damaged', `dist/main.wasm cannot be read: ${reason}`, {
      hint: 'build it again: alga build; one that came over a network may be cut off',
      cause,
    });
  }
}

function readShape(bytes: Uint8Array): ComponentShape {
  if (wasmKind(bytes) !== 'component') throw new SyntaxError('not a WebAssembly component');
  const shape: ComponentShape = { imports: [], exports: [] };
  const reader = new Reader(bytes, 8, bytes.length);
  while (!reader.atEnd) {
    const id = reader.byte();
    const section = reader.slice(reader.unsigned());
    if (id === SECTION.import) {
      readMany(section, () => {
        const name = externName(section);
        shape.imports.push({ name, kind: externDescription(section) });
      });
    } else if (id === SECTION.export) {
      readMany(section, () => {
        const name = externName(section);
        const kind = sort(section);
        section.unsigned();
        if (section.byte() === 1) externDescription(section);
        shape.exports.push({ name, kind });
      });
    }
  }
  return shape;
}

function readMany(section: Reader, readOne: () => void): void {
  for (let left = section.unsigned(); left > 0; left -= 1) readOne();
}

/** A plain name, or a name with options (version suffix, `implements`, external id) that are skipped. */
function externName(reader: Reader): string {
  const form = reader.byte();
  if (form > 2) throw new SyntaxError(`unknown form of name: ${form}`);
  const name = reader.text();
  if (form === 2) {
    readMany(reader, () => {
      reader.byte();
      reader.slice(reader.unsigned());
    });
  }
  return name;
}

function sort(reader: Reader): ExternKind {
  const first = reader.byte();
  if (first === 0) {
    if (reader.byte() !== 0x11) throw new SyntaxError('only core modules are exported');
    return 'module';
  }
  return KINDS[first] ?? unknownKind(first);
}

function externDescription(reader: Reader): ExternKind {
  const kind = sort(reader);
  if (kind === 'value') {
    // A bound: equal to a value index, or of a type.
    if (reader.byte() === 0) reader.unsigned();
    else reader.signed();
  } else if (kind === 'type') {
    // A bound: equal to a type index, or a fresh resource.
    if (reader.byte() === 0) reader.unsigned();
  } else {
    reader.unsigned();
  }
  return kind;
}

function unknownKind(byte: number): never {
  throw new SyntaxError(`unknown kind of import or export: ${byte}`);
}
