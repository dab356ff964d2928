import { readFile as read } from 'node:fs/promises';

/** Reads a file as Node.js does. Its error of a folder names no path; this one does. */
export async function readFile(path: string): Promise<Buffer> {
  try {
    return await read(path);
  } catch (error) {
    (error as NodeJS.ErrnoException).path ??= path;
    throw error;
  }
}
