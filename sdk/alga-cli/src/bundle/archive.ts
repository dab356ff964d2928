import { createRequire } from 'node:module';
import { buffer } from 'node:stream/consumers';

import type * as Zstd from '@bokuweb/zstd-wasm';
import { extract, pack } from 'tar-stream';

import { Failure } from '../failure.js';

export interface ArchiveEntry {
  /** Path inside the archive, with `/`. */
  name: string;
  content: Uint8Array;
}

/**
 * The same level everywhere: it is part of what makes an archive reproducible. Level 9 packs a
 * 12 MiB component in half a second, to within a tenth of what level 19 needs five seconds for.
 */
const LEVEL = 9;
/** What unpacking accepts, as the server's default. */
const MAX_UNPACKED = 256 * 1024 * 1024;
/** No bundle that a server takes is larger, packed or not. */
export const LARGEST_BUNDLE = MAX_UNPACKED;

/**
 * Zstandard is the WebAssembly build of the reference library, also where Node has its own: every
 * machine and every Node version then writes the same bytes.
 */
function zstd(): Promise<typeof Zstd> {
  loaded ??= (async () => {
    const module = createRequire(import.meta.url)('@bokuweb/zstd-wasm') as typeof Zstd;
    await module.init();
    return module;
  })();
  return loaded;
}

let loaded: Promise<typeof Zstd> | undefined;

/**
 * Writes a `tar.zst` that depends on names and contents only: entries sorted by name, no times, no
 * owners, one mode.
 */
export async function writeArchive(entries: readonly ArchiveEntry[]): Promise<Uint8Array> {
  const tar = pack();
  const sorted = [...entries].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  for (const { name, content } of sorted) {
    tar.entry(
      { name, size: content.length, mode: 0o644, mtime: new Date(0), uid: 0, gid: 0, type: 'file' },
      Buffer.from(content.buffer, content.byteOffset, content.length),
    );
  }
  tar.finalize();
  const plain = await buffer(tar);
  const { compress } = await zstd();
  return compress(plain, LEVEL);
}

/**
 * Reads the files of a `tar.zst`. Throws a Failure for anything that is not one.
 *
 * @param name of the file, as messages show it
 */
export async function readArchive(bytes: Uint8Array, name = 'The file'): Promise<ArchiveEntry[]> {
  const hint = 'make the bundle with: alga pack; one that came over a network may be cut off';
  const broken = (cause: unknown) =>
    new Failure('bundle.unreadable', `${name} is not a tar.zst archive`, { hint, cause });
  if (bytes.length === 0) throw new Failure('bundle.unreadable', `${name} is empty`, { hint });
  const { decompress } = await zstd();
  let plain: Uint8Array;
  try {
    plain = decompress(bytes, { defaultHeapSize: 32 * 1024 * 1024 });
  } catch (cause) {
    throw broken(cause);
  }
  if (plain.length > MAX_UNPACKED) {
    throw new Failure('bundle.too_large', `${name} unpacks to more than 256 MiB`, {
      hint: 'leave out what the extension does not need: alga pack lists the sizes',
    });
  }
  const entries: ArchiveEntry[] = [];
  const tar = extract();
  tar.end(Buffer.from(plain));
  try {
    for await (const entry of tar) {
      const content = await buffer(entry);
      if (entry.header.type === 'file') {
        entries.push({ name: entry.header.name.replace(/^\.\//, ''), content });
      }
    }
  } catch (cause) {
    throw broken(cause);
  }
  return entries;
}
