/**
 * Runs `body` with a `Date` whose present is `now()`. Restores the real one when the promise
 * settles. Two overlapping calls would see each other's time: await one before the next.
 */
export async function withFixedTime<T>(now: () => number, body: () => Promise<T>): Promise<T> {
  const RealDate = globalThis.Date;
  const FixedDate = new Proxy(RealDate, {
    construct: (target, args: unknown[], newTarget) =>
      Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget) as object,
    apply: () => new RealDate(now()).toString(),
    get: (target, property, receiver) =>
      property === 'now' ? now : (Reflect.get(target, property, receiver) as unknown),
  });
  globalThis.Date = FixedDate;
  try {
    return await body();
  } finally {
    globalThis.Date = RealDate;
  }
}
