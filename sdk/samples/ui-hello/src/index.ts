import { handler, json, UserError } from '@alga/extension-runtime';

export default handler(async ({ user }) => {
  try {
    const { userName, clientName } = await user.get();
    return json({ greeting: `Hello ${userName} of ${clientName}` });
  } catch (error) {
    if (error instanceof UserError) return json({ greeting: 'Hello, whoever you are' });
    throw error;
  }
});
