// Two editors: what to do when a record was changed by somebody else meanwhile.

import * as api from './api.js';
import { dialog } from './dialog.js';
import { h } from './dom.js';
import { area, instant, t, word } from './i18n.js';
import { shapeArea } from './map/geometry.js';

/**
 * Saves `mine` over what `etag` names. Where somebody changed it meanwhile, it is asked what to do. Resolves to what is
 * saved then, with `theirs: true` where theirs was taken, or to null where the person wants to go on editing.
 */
export async function save({ kind, id, to, mine, etag, base }) {
  try {
    return await api.put(to, mine, etag);
  } catch (problem) {
    if (problem.status !== 412 && problem.status !== 404) throw problem;
  }
  let theirs = null;
  try {
    theirs = await api.getRecord(to);
  } catch (problem) {
    if (problem.status !== 404) throw problem;
  }
  const decision = await ask({ kind, id, theirs, mine, base, by: await whoChanged(kind, id) });
  if (decision === 'mine') return save({ kind, id, to, mine, etag: theirs?.etag ?? null, base });
  if (decision === 'theirs') return { ...theirs, theirs: true, gone: theirs === null };
  return null;
}

async function whoChanged(kind, id) {
  try {
    const { items } = await api.get('/history?limit=50');
    return (
      items.find(change => change.items?.some(item => item.kind === kind && String(item.id) === String(id))) ?? null
    );
  } catch {
    return null;
  }
}

function ask({ kind, id, theirs, mine, base, by }) {
  return new Promise(resolve => {
    const rows = theirs ? differences(base, theirs.record, mine) : [];
    const who = by ? t('conflict.who', { who: by.by, when: instant(by.at) }) : t('conflict.somebody');
    dialog(
      t('conflict.title'),
      close => [
        h(
          'p',
          null,
          h('strong', null, who),
          ' ',
          theirs
            ? t('conflict.text', { what: word('kind.', kind), id })
            : t('conflict.removed', { what: word('kind.', kind), id }),
        ),
        rows.length > 0 &&
          h(
            'div',
            { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('conflict.title') },
            h(
              'table',
              { class: 'compare' },
              h(
                'thead',
                null,
                h(
                  'tr',
                  null,
                  [t('conflict.field'), t('conflict.before'), t('conflict.theirs'), t('conflict.mine')].map(text =>
                    h('th', { scope: 'col' }, text),
                  ),
                ),
              ),
              h(
                'tbody',
                null,
                rows.map(row =>
                  h(
                    'tr',
                    null,
                    h('th', { scope: 'row' }, fieldName(row.name)),
                    h('td', null, row.base),
                    h('td', { class: row.base !== row.theirs ? 'changed' : null }, row.theirs),
                    h('td', { class: row.base !== row.mine ? 'changed' : null }, row.mine),
                  ),
                ),
              ),
            ),
          ),
        h(
          'div',
          { class: 'row end' },
          h('button', { type: 'button', onclick: () => close(null) }, t('conflict.go-on')),
          h(
            'button',
            { type: 'button', onclick: () => close('theirs') },
            t(theirs ? 'conflict.take-theirs' : 'conflict.let-go'),
          ),
          h('button', { type: 'button', class: 'primary', onclick: () => close('mine') }, t('conflict.keep-mine')),
        ),
      ],
      { wide: true, whenClosed: value => resolve(value ?? null) },
    );
  });
}

const fieldName = name => {
  const text = word('field.', name);
  return text === name ? name.replace(/^(labels|metadata|properties)\./, '') : text;
};

/** The fields in which theirs or mine differs from where both began. */
export function differences(base, theirs, mine) {
  const [b, o, m] = [base, theirs, mine].map(flat);
  const names = [...new Set([...Object.keys(o), ...Object.keys(m)])].filter(name => o[name] !== m[name]);
  return names.map(name => ({ name, base: b[name] ?? '–', theirs: o[name] ?? '–', mine: m[name] ?? '–' }));
}

/** Names and texts of all fields; a shape is one field, with its corners. */
function flat(record) {
  const result = {};
  const visit = (value, name) => {
    if (name === 'geometry' || name === 'type' || name === 'id' || name === 'radius_m') return;
    if (name === 'shape_m') result.shape = shapeText(value);
    else if (value !== null && typeof value === 'object' && !Array.isArray(value))
      for (const [key, part] of Object.entries(value))
        visit(part, name && name !== 'properties' ? `${name}.${key}` : key);
    else if (value !== null && value !== undefined && !(Array.isArray(value) && value.length === 0))
      result[name] = Array.isArray(value)
        ? value.map(part => (part && typeof part === 'object' ? Object.values(part).join(' ') : part)).join(', ')
        : String(value);
  };
  visit(record ?? {}, '');
  return result;
}

function shapeText(shape) {
  if (!shape) return '–';
  if (shape.centre) return `${area(shapeArea(shape))}: ${shape.centre.join(' ')}, r ${shape.radius}`;
  return `${area(shapeArea(shape))}: ${shape.polygons
    .flat()
    .map(ring => ring.map(corner => corner.map(part => Math.round(part * 1000) / 1000).join(' ')).join(', '))
    .join(' / ')}`;
}
