declare module 'alga:extension/storage@1.0.0' {
  export function get(namespace: string, key: string): StorageEntry;
  /**
   * Returns the new revision; revisions start at 1.
   */
  export function put(namespace: string, key: string, value: Uint8Array, options: PutOptions): bigint;
  export { _delete as delete };
  function _delete(namespace: string, key: string, condition: WriteCondition): void;
  export function listEntries(namespace: string, options: ListOptions): StoragePage;
  /**
   * # Variants
   * 
   * ## `"missing"`
   * 
   * ## `"conflict"`
   * 
   * The revision condition did not hold, or the record exists already.
   * ## `"denied"`
   * 
   * ## `"invalid"`
   * 
   * Namespace, key, cursor, TTL or value is not acceptable.
   * ## `"quota"`
   * 
   * ## `"internal"`
   */
  export type StorageError = 'missing' | 'conflict' | 'denied' | 'invalid' | 'quota' | 'internal';
  export interface StorageEntry {
    namespace: string,
    key: string,
    value: Uint8Array,
    revision: bigint,
  }
  /**
   * What must hold before a write.
   */
  export type WriteCondition = WriteConditionAlways | WriteConditionCreateOnly | WriteConditionRevision;
  /**
   * Write unconditionally.
   */
  export interface WriteConditionAlways {
    tag: 'always',
  }
  /**
   * Write only when no record exists.
   */
  export interface WriteConditionCreateOnly {
    tag: 'create-only',
  }
  /**
   * Write only when the record has this revision.
   */
  export interface WriteConditionRevision {
    tag: 'revision',
    val: bigint,
  }
  export interface PutOptions {
    condition: WriteCondition,
    /**
     * Seconds until the record disappears: 60 to 2,592,000; none keeps it for ever.
     */
    ttlSeconds?: number,
  }
  export interface ListOptions {
    /**
     * Literal key prefix.
     */
    prefix?: string,
    /**
     * `next-cursor` of the previous page.
     */
    cursor?: string,
    /**
     * Records per page: 1 to 100, default 25.
     */
    limit?: number,
  }
  export interface StoragePage {
    entries: Array<StorageEntry>,
    /**
     * None on the last page.
     */
    nextCursor?: string,
  }
}
