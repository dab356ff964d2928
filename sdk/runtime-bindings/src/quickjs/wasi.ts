/** The parts of WASI that the entry of a QuickJS component imports, in that engine's types. */

/** `wasi:random/random`. */
export interface Random {
  getRandomBytes(length: number): Uint8Array;
}

/** `wasi:io/poll` `pollable`. */
export interface Pollable {
  block(): void;
}

/** `wasi:clocks/monotonic-clock`; instants and durations are nanoseconds, as numbers. */
export interface MonotonicClock {
  now(): number;
  subscribeDuration(nanoseconds: number): Pollable;
}

export interface WasiImports {
  random: Random;
  clock: MonotonicClock;
}
