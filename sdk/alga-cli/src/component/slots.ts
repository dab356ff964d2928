import { Reader } from './reader.js';

/** What an instance of a component takes from a runner's pool. */
export interface Needs {
  coreInstances: number;
  memories: number;
  tables: number;
}

/**
 * What one slot of the pool has: `artefact_settings()` of src/engine/bridge.cc over the defaults of
 * bridge/src/engine.rs.
 */
export const SLOT: Needs = { coreInstances: 64, memories: 4, tables: 8 };

const NAMES: Record<keyof Needs, string> = {
  coreInstances: 'core instances',
  memories: 'memories',
  tables: 'tables',
};

/** Why no slot can hold an instance, each as publishing says it: `5 memories; a slot has 4`. */
export function beyondSlots(needs: Needs): string[] {
  return (Object.keys(SLOT) as (keyof Needs)[])
    .filter((name) => needs[name] > SLOT[name])
    .map((name) => `${needs[name]} ${NAMES[name]}; a slot has ${SLOT[name]}`);
}

type ModuleNeeds = Pick<Needs, 'memories' | 'tables'>;
const UNKNOWN: ModuleNeeds = { memories: 0, tables: 0 };

const MODULE_SECTION = { table: 4, memory: 5 } as const;
const SECTION = { module: 1, coreInstance: 2, component: 4, alias: 6 } as const;
/** The core sort of modules. */
const CORE_MODULE = 0x11;
const OUTER = 2;

/**
 * Counts over all instantiations of core modules (component model binary format): a module that is
 * instantiated twice counts twice, the body of a nested component once. Throws a RangeError for a
 * truncated and a SyntaxError for a malformed binary.
 */
export function slotNeeds(bytes: Uint8Array): Needs {
  const needs: Needs = { coreInstances: 0, memories: 0, tables: 0 };
  countComponent(new Reader(bytes, 8, bytes.length), [], needs);
  return needs;
}

/** @param outer the modules of the components around this one, the innermost last */
function countComponent(reader: Reader, outer: readonly ModuleNeeds[][], needs: Needs): void {
  const modules: ModuleNeeds[] = [];
  const scopes = [...outer, modules];
  while (!reader.atEnd) {
    const id = reader.byte();
    const section = reader.slice(reader.unsigned());
    if (id === SECTION.module) {
      modules.push(countModule(section));
    } else if (id === SECTION.component) {
      section.slice(8);
      countComponent(section, scopes, needs);
    } else if (id === SECTION.coreInstance) {
      for (let left = section.unsigned(); left > 0; left -= 1) {
        const module = instantiated(section);
        if (module === undefined) continue;
        const { memories, tables } = modules[module] ?? UNKNOWN;
        needs.coreInstances += 1;
        needs.memories += memories;
        needs.tables += tables;
      }
    } else if (id === SECTION.alias) {
      for (let left = section.unsigned(); left > 0; left -= 1) {
        const aliased = aliasedModule(section, scopes);
        if (aliased !== undefined) modules.push(aliased);
      }
    }
  }
}

function countModule(reader: Reader): ModuleNeeds {
  const found = { memories: 0, tables: 0 };
  reader.slice(8);
  while (!reader.atEnd) {
    const id = reader.byte();
    const section = reader.slice(reader.unsigned());
    if (id === MODULE_SECTION.memory) found.memories += section.unsigned();
    if (id === MODULE_SECTION.table) found.tables += section.unsigned();
  }
  return found;
}

/** Reads one core instance: the index of its module, or undefined for a bundle of exports. */
function instantiated(reader: Reader): number | undefined {
  const form = reader.byte();
  if (form > 1) throw new SyntaxError(`unknown form of core instance: ${form}`);
  const module = form === 0 ? reader.unsigned() : undefined;
  for (let left = reader.unsigned(); left > 0; left -= 1) {
    reader.text();
    reader.byte();
    reader.unsigned();
  }
  return module;
}

/** Reads one alias; what it adds to the modules, if it is one of a core module. */
function aliasedModule(
  reader: Reader,
  scopes: readonly (readonly ModuleNeeds[])[],
): ModuleNeeds | undefined {
  const module = reader.byte() === 0 && reader.byte() === CORE_MODULE;
  const target = reader.byte();
  const first = reader.unsigned();
  if (target !== OUTER) {
    reader.text();
    return module ? UNKNOWN : undefined;
  }
  const index = reader.unsigned();
  return module ? (scopes[scopes.length - 1 - first]?.[index] ?? UNKNOWN) : undefined;
}
