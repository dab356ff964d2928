import { open } from 'node:fs/promises';

import { Failure } from './failure.js';
import { formatBytes } from './output.js';

const CHUNK = 1024 * 1024;

/**
 * Reads a file that an argument names, which may be a pipe or a device that has no end. Throws the
 * error of the system, or a Failure when there is more than is wanted.
 *
 * @param most bytes
 * @param shown its name, as messages show it
 */
export async function readBounded(path: string, most: number, shown: string): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const chunks: Buffer[] = [];
    for (let size = 0; ;) {
      const buffer = Buffer.allocUnsafe(Math.min(CHUNK, most + 1 - size));
      const { bytesRead } = await file.read(buffer);
      if (bytesRead === 0) return Buffer.concat(chunks, size);
      size += bytesRead;
      if (size > most) {
        throw new Failure('file.too_large', `${shown} is larger than ${formatBytes(most)}`, {
          hint: 'is it the right file?',
        });
      }
      chunks.push(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}
