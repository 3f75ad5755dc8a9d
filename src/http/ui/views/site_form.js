// The form of the site: its name, time zone and place on earth.

import * as api from '../api.js';
import { save } from '../conflict.js';
import { h, put } from '../dom.js';
import { t } from '../i18n.js';
import { field, form, numberField } from '../forms.js';
import { emit, model } from '../model.js';
import { loading, notice, problemBox } from '../notices.js';

/** The form, for a dialog. */
export function siteForm(close) {
  const place = h('div', null, loading());
  api
    .getRecord('/site')
    .then(({ record, etag }) => {
      put(place, build(record, etag, close));
      place.querySelector('input').focus();
    })
    .catch(problem => put(place, problemBox(problem)));
  return place;
}

function build(site, etag, close) {
  const zones = Intl.supportedValuesOf?.('timeZone') ?? [];
  const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const fresh = site.origin.latitude === 0 && site.origin.longitude === 0;
  const name = field(t('site.name'), {
    value: fresh && site.name === site.id ? '' : site.name,
    required: true,
    placeholder: t('site.name.placeholder'),
  });
  const zone = field(t('site.time_zone'), { value: fresh ? here : site.time_zone, required: true, list: 'time-zones' });
  const latitude = numberField(t('site.latitude'), {
    value: fresh ? null : site.origin.latitude,
    min: -90,
    max: 90,
    unit: '°',
    required: true,
  });
  const longitude = numberField(t('site.longitude'), {
    value: fresh ? null : site.origin.longitude,
    min: -180,
    max: 180,
    unit: '°',
    required: true,
  });
  const bearing = numberField(t('site.bearing'), {
    value: site.origin.bearing,
    min: -360,
    max: 360,
    unit: '°',
    hint: t('site.bearing.hint'),
  });
  const exponent = numberField(t('site.exponent'), {
    value: site.path_loss_exponent,
    min: 1,
    max: 6,
    hint: t('site.exponent.hint'),
  });
  const power = numberField(t('site.power'), { value: site.measured_power, unit: 'dBm', hint: t('site.power.hint') });
  // People copy "48.8566, 2.3522" out of a map: both fields are filled from it.
  latitude.input.addEventListener('paste', event => {
    const pair = event.clipboardData.getData('text').match(/(-?\d+(?:\.\d+)?)[,;\s]+(-?\d+(?:\.\d+)?)/);
    if (!pair) return;
    event.preventDefault();
    [, latitude.input.value, longitude.input.value] = pair;
  });
  return form(
    [
      name,
      zone,
      h(
        'datalist',
        { id: 'time-zones' },
        zones.map(value => h('option', { value })),
      ),
      h(
        'fieldset',
        null,
        h('legend', null, t('site.place')),
        h('p', { class: 'hint' }, t('site.place.hint')),
        h('div', { class: 'two' }, latitude, longitude),
      ),
      h('details', null, h('summary', null, t('advanced')), bearing, h('div', { class: 'two' }, exponent, power)),
    ],
    {
      cancel: () => close(),
      send: async () => {
        const mine = {
          ...site,
          name: name.input.value.trim(),
          time_zone: zone.input.value.trim(),
          origin: { latitude: latitude.number(), longitude: longitude.number(), bearing: bearing.number() ?? 0 },
          path_loss_exponent: exponent.number() ?? site.path_loss_exponent,
          measured_power: power.number() ?? site.measured_power,
        };
        const saved = await save({ kind: 'site', id: site.id, to: '/site', mine, etag, base: site });
        if (saved === null) return;
        model.site = saved.record;
        emit('registry', null);
        close();
        if (!saved.theirs) notice(t('saved.named', { name: mine.name }));
      },
    },
  );
}
