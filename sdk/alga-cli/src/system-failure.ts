import { Failure } from './failure.js';

interface Meaning {
  code: string;
  /** What is the matter, to stand after a colon. */
  text: string;
  hint: string;
}

const DENIED: Meaning = {
  code: 'system.denied',
  text: 'permission denied',
  hint: 'give yourself the right to it, or work in a folder of your own',
};
const FULL: Meaning = {
  code: 'system.no_space',
  text: 'no space is left on the disk',
  hint: 'free some space (caches: .alga and dist of projects, ALGA_BUILD_CACHE), then run it again',
};

/** Errors of the system that people meet, by Node's names for them. */
const MEANINGS: Record<string, Meaning | undefined> = {
  EACCES: DENIED,
  EPERM: DENIED,
  ENOSPC: FULL,
  EDQUOT: { ...FULL, text: 'your quota on the disk is used up' },
  EROFS: {
    code: 'system.read_only',
    text: 'the file system is read-only',
    hint: 'work in a folder that can be written to',
  },
  ENOENT: {
    code: 'system.not_found',
    text: 'it does not exist',
    hint: 'check the path; relative paths begin at the folder in which the command runs',
  },
  EISDIR: { code: 'system.is_folder', text: 'it is a folder', hint: 'name a file' },
  ENOTDIR: {
    code: 'system.no_folder',
    text: 'a part of the path is a file, not a folder',
    hint: 'check the path',
  },
  EEXIST: {
    code: 'system.exists',
    text: 'it exists already',
    hint: 'remove it, or choose another',
  },
  EMFILE: {
    code: 'system.too_many_files',
    text: 'too many open files',
    hint: 'raise the limit: ulimit -n',
  },
  ELOOP: {
    code: 'system.link_loop',
    text: 'symbolic links in the path lead in a circle',
    hint: 'check the path with: ls -l',
  },
  ENAMETOOLONG: { code: 'system.name_too_long', text: 'the name is too long', hint: 'shorten it' },
  EADDRNOTAVAIL: {
    code: 'system.no_address',
    text: 'this machine has no such address',
    hint: 'check the address',
  },
};

/** Linux says "no space" when its file watchers are used up. */
const WATCHERS: Meaning = {
  code: 'system.too_many_watchers',
  text: "the system's limit of file watchers is reached",
  hint: 'raise it: sysctl fs.inotify.max_user_watches=524288; or run without: alga dev --no-watch',
};

/** How Node.js puts it that folders cannot be made where they are asked for. */
const NO_PLACE: Meaning = {
  code: 'system.no_place',
  text: 'it cannot be made there',
  hint: 'is the file system read-only? Work in a folder that can be written to',
};

/** What the command did, by the system call. */
const VERBS: Record<string, string | undefined> = {
  open: 'open',
  read: 'read',
  write: 'write to',
  mkdir: 'make the folder',
  mkdtemp: 'make a folder like',
  scandir: 'list the folder',
  copyfile: 'copy',
  rename: 'rename',
  unlink: 'remove',
  rm: 'remove',
  chmod: 'change the mode of',
  watch: 'watch',
  spawn: 'start',
  listen: 'listen on',
};

function meaningOf(error: unknown): Meaning | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code = '', syscall } = error as NodeJS.ErrnoException;
  if (code === 'ENOSPC' && syscall === 'watch') return WATCHERS;
  return code === 'ENOENT' && syscall === 'mkdir' ? NO_PLACE : MEANINGS[code];
}

/** Why a system call failed, in a few words; the error's own message where it is a rare one. */
export function reasonOf(error: unknown): string {
  return meaningOf(error)?.text ?? (error instanceof Error ? error.message : String(error));
}

/** An error of the system as a Failure that names the path and what to do; undefined for others. */
export function systemFailure(error: unknown): Failure | undefined {
  const meaning = meaningOf(error);
  if (meaning === undefined) return undefined;
  const { path, syscall = '', dest } = error as NodeJS.ErrnoException & { dest?: string };
  const verb = VERBS[syscall] ?? 'use';
  const what = dest ?? path ?? 'a file';
  return new Failure(meaning.code, `Cannot ${verb} ${what}: ${meaning.text}`, {
    hint: meaning.hint,
    cause: error,
  });
}
