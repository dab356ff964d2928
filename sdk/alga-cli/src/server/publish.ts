import type { BundleSignature } from '../signing/signing.js';
import { contentHash } from '../bundle/pack.js';
import { formatBytes, type Waiting } from '../output.js';
import type { ApiClient } from './client.js';
import type { FinalizeAnswer, UploadAnswer } from './types.js';

/** Uploads a bundle and has it checked, compiled and registered. @param output shows the steps */
export async function upload(
  client: ApiClient,
  archive: Uint8Array,
  signature: BundleSignature | undefined,
  filename: string,
  output?: Waiting,
): Promise<FinalizeAnswer> {
  const show: Waiting = output ?? { during: (_label, work) => work() };
  const hash = contentHash(archive);
  const size = String(archive.length);
  const query = new URLSearchParams({ filename, size, declaredHash: hash });
  const uploading = () =>
    client.json<UploadAnswer>(`/api/ext-bundles/upload-proxy?${query.toString()}`, {
      method: 'POST',
      body: archive,
      headers: { 'content-type': 'application/octet-stream' },
      noTimeout: true,
    });
  const staged = await show.during('Uploading', uploading, {
    note: () => formatBytes(archive.length),
  });
  const { key } = staged.upload;
  const finalizing = () =>
    client.json<FinalizeAnswer>('/api/ext-bundles/finalize', {
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
  try {
    return await show.during('Checking and compiling on the server', finalizing);
  } catch (error) {
    // The refusal is what matters; a staged upload that stays behind is removed by the server.
    const json = { key, reason: 'finalize failed' };
    await client.json('/api/ext-bundles/abort', { method: 'POST', json }).catch(() => undefined);
    throw error;
  }
}
