// Removing a record: asks first, and offers to take it back afterwards.

import * as api from './api.js';
import { confirm } from './dialog.js';
import { t, word } from './i18n.js';
import { notice } from './notices.js';

/** Removes a record after asking. Resolves to whether it is gone. Failures are the caller's to show. */
export async function removeRecord({ kind, id, to, etag, text }) {
  const what = word('kind.', kind);
  const sure = await confirm(t('remove.title', { what, id }), text ?? t(`remove.${kind}`), t('remove.do'));
  if (!sure) return false;
  const revision = await api.remove(to, etag);
  notice(t('remove.done', { what, id }), revision ? { action: () => undo(revision), label: t('undo') } : {});
  return true;
}

/** Takes back the change that made `revision`. */
export async function undo(revision) {
  try {
    await api.post(`/history/${revision}/undo`);
    notice(t('undo.done'));
    return true;
  } catch (problem) {
    notice(problem.message, { kind: 'bad' });
    return false;
  }
}
