import { rm, writeFile as write } from 'node:fs/promises';

/**
 * Writes a file as Node.js does. Its errors of a full disk name no file; these do, and leave no half
 * a file behind.
 */
export async function writeFile(
  path: string,
  content: string | Uint8Array,
  options: { mode?: number; flag?: 'w' | 'wx' } = {},
): Promise<void> {
  try {
    await write(path, content, options);
  } catch (error) {
    const failed = error as NodeJS.ErrnoException;
    if (failed.syscall === 'write') {
      failed.path ??= path;
      await rm(path, { force: true }).catch(() => undefined);
    }
    throw failed;
  }
}
