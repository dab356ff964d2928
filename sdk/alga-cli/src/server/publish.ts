import type { BundleSignature } from '../signing/signing.js';
import { contentHash } from '../bundle/pack.js';
import type { ApiClient } from './client.js';
import type { FinalizeAnswer, UploadAnswer } from './types.js';

/** What a caller may show while a bundle is on its way. */
export interface PublishSteps {
  uploaded?: () => void;
}

/** Uploads a bundle and has it checked, compiled and registered. */
export async function upload(
  client: ApiClient,
  archive: Uint8Array,
  signature: BundleSignature | undefined,
  filename: string,
  steps: PublishSteps = {},
): Promise<FinalizeAnswer> {
  const hash = contentHash(archive);
  const size = String(archive.length);
  const query = new URLSearchParams({ filename, size, declaredHash: hash });
  const staged = await client.json<UploadAnswer>(
    `/api/ext-bundles/upload-proxy?${query.toString()}`,
    {
      method: 'POST',
      body: archive,
      headers: { 'content-type': 'application/octet-stream' },
      noTimeout: true,
    },
  );
  steps.uploaded?.();
  const { key } = staged.upload;
  try {
    return await client.json<FinalizeAnswer>('/api/ext-bundles/finalize', {
      method: 'POST',
      noTimeout: true,
      json: {
        key,
        size: archive.length,
        declaredHash: hash,
        ...(signature === undefined
          ? {}
          : { signature: { text: JSON.stringify(signature), algorithm: 'ed25519' } }),
      },
    });
  } catch (error) {
    // The refusal is what matters; a staged upload that stays behind is removed by the server.
    const json = { key, reason: 'finalize failed' };
    await client.json('/api/ext-bundles/abort', { method: 'POST', json }).catch(() => undefined);
    throw error;
  }
}
