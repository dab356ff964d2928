/**
 * The parts of WASI that the entry of a QuickJS component imports for itself: StarlingMonkey's own
 * clock and randomness are live, QuickJS seeds `Math.random` while the component is built and has no
 * timers. Written for the version that componentize-qjs imports; hosts link newer ones alike.
 */
const VERSION = '0.2.12';

/** By the names that `WasiImports` of the runtime library gives them. */
export const QUICKJS_IMPORTS = {
  random: `wasi:random/random@${VERSION}`,
  clock: `wasi:clocks/monotonic-clock@${VERSION}`,
};

export const QUICKJS_WIT: Record<string, string> = {
  random: `package wasi:random@${VERSION};

interface random {
  get-random-bytes: func(len: u64) -> list<u8>;
}
`,
  io: `package wasi:io@${VERSION};

interface poll {
  resource pollable {
    block: func();
  }
}
`,
  clocks: `package wasi:clocks@${VERSION};

interface monotonic-clock {
  use wasi:io/poll@${VERSION}.{pollable};

  type instant = u64;
  type duration = u64;

  now: func() -> instant;
  subscribe-duration: func(when: duration) -> pollable;
}
`,
};
