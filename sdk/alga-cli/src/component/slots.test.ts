import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, test } from 'vitest';

import { beyondSlots, SLOT, slotNeeds } from './slots.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../../../..');

const section = (id: number, ...content: number[]) => [id, content.length, ...content];
const COMPONENT = [0x00, 0x61, 0x73, 0x6d, 0x0d, 0x00, 0x01, 0x00];
const MODULE = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];
const table = section(4, 1, 0x70, 0x00, 0x03);
const memory = section(5, 1, 0x00, 0x01);
/** Core instances of these modules, without arguments. */
const instances = (...modules: number[]) =>
  section(2, modules.length, ...modules.flatMap((index) => [0x00, index, 0x00]));

test('counts each instance, through nested components and aliases', () => {
  const inner = [
    ...COMPONENT,
    // The outer module 0 becomes module 0 here; module 1 is its own.
    ...section(6, 1, 0x00, 0x11, 0x02, 0x01, 0x00),
    ...section(1, ...MODULE, ...memory),
    ...instances(0, 1),
  ];
  const component = Uint8Array.from([
    ...COMPONENT,
    ...section(1, ...MODULE, ...table, ...memory),
    ...section(1, ...MODULE),
    ...instances(0, 0, 1),
    // A bundle of exports is no instance of a module.
    ...section(2, 1, 0x01, 0x01, 0x01, 0x61, 0x02, 0x00),
    ...section(4, ...inner),
  ]);
  const needs = slotNeeds(component);
  expect(needs).toEqual({ coreInstances: 5, memories: 4, tables: 3 });
  expect(beyondSlots(needs)).toEqual([]);
  expect(() => slotNeeds(component.subarray(0, component.length - 1))).toThrow(RangeError);
});

test('says which number is over which limit', () => {
  expect(beyondSlots({ coreInstances: 64, memories: 4, tables: 8 })).toEqual([]);
  expect(beyondSlots({ coreInstances: 65, memories: 5, tables: 9 })).toEqual([
    '65 core instances; a slot has 64',
    '5 memories; a slot has 4',
    '9 tables; a slot has 8',
  ]);
});

test('knows the slots of the server', async () => {
  const settings = await readFile(join(ROOT, 'src/engine/bridge.cc'), 'utf8');
  const defaults = await readFile(join(ROOT, 'bridge/src/engine.rs'), 'utf8');
  const number = (text: string, pattern: RegExp) => Number(pattern.exec(text)?.[1]);
  expect(SLOT).toEqual({
    coreInstances: number(settings, /config\.core_instances_per_component = (\d+)/),
    memories: number(defaults, /memories_per_component: (\d+)/),
    tables: number(defaults, /tables_per_component: (\d+)/),
  });
});
