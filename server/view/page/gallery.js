// The photos of the data set: searched, filtered, and sorted by how well the model sees them.

import {askJson} from './api.js';
import {el, percent} from './dom.js';
import {addressOf} from './preferences.js';

const kPage = 1000;    // of the list, in a request
const kCards = 120;    // that are added when the end comes into sight
const kScorers = 2;    // photos that are scored at once

/** All photos: [{id, split, labelled}], in the API's order. */
export async function listPhotos() {
  const photos = [];
  let first;
  for (let offset = 0; ; offset += kPage) {
    const page = await askJson(`v1/images?offset=${offset}&limit=${kPage}`);
    if (!Array.isArray(page.images)) throw new Error('the list of photos is none: is this the API of Macadam?');
    first ??= page;
    photos.push(...page.images);
    if (page.images.length < kPage || photos.length >= page.count) break;
  }
  return {dataset: first.dataset, splits: first.splits, photos};
}

/** What the gallery shows, from what was asked of it. `scores`: by id, {miou, iou}. */
export function selectPhotos(photos, {split, search, contains, sort}, scores) {
  const wanted = search.toLowerCase();
  const has = (photo) => {
    const iou = scores.get(photo.id)?.iou[contains];
    return iou !== null && iou !== undefined;
  };
  const chosen = photos.filter((photo) => (!split || photo.split === split) &&
    (!wanted || photo.id.toLowerCase().includes(wanted)) && (contains === null || has(photo)));
  if (sort === 'name') return chosen;
  const rank = (photo) => scores.get(photo.id)?.miou ?? null;
  const sign = sort === 'worst' ? 1 : -1;
  return chosen.sort((a, b) => {
    const [left, right] = [rank(a), rank(b)];
    if (left === null || right === null) return (left === null) - (right === null);
    return sign * (left - right);
  });
}

export class Gallery {
  constructor(app, query) {
    this.app = app;
    this.wish = {split: query.get('split') ?? '', search: query.get('search') ?? '', sort: query.get('sort') ?? 'name',
      contains: query.has('class') ? Number(query.get('class')) : null};
    if (!['name', 'worst', 'best'].includes(this.wish.sort)) this.wish.sort = 'name';
    this.stop = new AbortController();
    this.build();
    this.show();
    if (this.needsScores()) this.fetchScores();
  }

  end() {
    this.stop.abort();
    this.sentinel.disconnect();
  }

  build() {
    const {app, wish} = this;
    const pick = (label, options, value, change) => el('label', {class: 'field'}, `${label} `, el('select',
      {on: {change: (event) => {
        change(event.target.value);
        this.changed();
      }}}, options.map(([key, text]) => el('option', {value: key, textContent: text, selected: key === value}))));
    this.search = el('input', {type: 'search', placeholder: 'Search', value: wish.search, 'aria-label': 'Search by name',
      on: {input: () => {
        wish.search = this.search.value;
        this.changed();
      }}});
    this.count = el('span', {class: 'soft', role: 'status'});
    this.score = el('button', {type: 'button', on: {click: () => (this.scoring ? this.stopScoring() : this.scoreAll())}});
    this.bar = el('progress', {max: 1, value: 0, hidden: true, 'aria-label': 'Photos that are scored'});
    this.grid = el('ul', {class: 'grid'});
    this.more = el('div', {class: 'more'});
    this.element = el('div', {class: 'gallery'},
      el('div', {class: 'tools', role: 'toolbar', 'aria-label': 'Photos'},
        el('h1', {textContent: app.gallery.dataset}), this.search,
        pick('Split', [['', 'all'], ...app.gallery.splits.map((s) => [s, s])], wish.split, (v) => { wish.split = v; }),
        pick('With', [['', 'any class'], ...app.classes.map((c) => [String(c.id), c.name])], wish.contains === null ? '' : String(wish.contains),
          (v) => { wish.contains = v === '' ? null : Number(v); }),
        pick('Sort', [['name', 'by name'], ['worst', 'worst first'], ['best', 'best first']], wish.sort, (v) => { wish.sort = v; }),
        this.count, el('span', {class: 'grow'}), this.bar, this.score),
      this.grid, this.more);
    this.sentinel = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) this.addCards();
    }, {rootMargin: '800px'});
    this.sentinel.observe(this.more);
  }

  needsScores() {
    return this.wish.sort !== 'name' || this.wish.contains !== null;
  }

  changed() {
    const {split, search, sort, contains} = this.wish;
    history.replaceState(null, '', addressOf([], {split, search, sort: sort === 'name' ? '' : sort, class: contains ?? ''}));
    this.show();
    if (this.needsScores()) this.fetchScores();
  }

  /** The photos that are chosen, as links between them follow. */
  show() {
    const {app} = this;
    this.chosen = selectPhotos(app.gallery.photos, this.wish, app.scores);
    app.sequence = this.chosen.map((photo) => photo.id);
    app.galleryAddress = location.hash.startsWith('#/image') ? '#/' : location.hash || '#/';
    this.grid.replaceChildren();
    this.added = 0;
    this.addCards();
    this.count.textContent = `${this.chosen.length} of ${app.gallery.photos.length} photos`;
    if (this.chosen.length === 0) {
      this.grid.append(el('li', {class: 'empty', textContent: this.wish.contains === null
        ? 'No photo has this name.' : 'No photo that was scored has this class.'}));
    }
    this.setScoreButton();
  }

  addCards() {
    const next = this.chosen.slice(this.added, this.added + kCards);
    this.added += next.length;
    this.grid.append(...next.map((photo) => this.card(photo)));
    // The sentinel may still be in sight, and says so only when that changes.
    this.sentinel.unobserve(this.more);
    if (this.added < this.chosen.length) this.sentinel.observe(this.more);
  }

  card({id, split}) {
    const miou = this.app.scores.get(id)?.miou;
    return el('li', {}, el('a', {href: addressOf(['image', id])},
      el('img', {src: `api/v1/images/${encodeURIComponent(id)}/thumbnail?width=320`, alt: '', loading: 'lazy', width: 320, height: 180,
        on: {error: (event) => event.target.replaceWith(el('span', {class: 'broken', textContent: 'no picture'}))}}),
      el('span', {class: 'name', textContent: id}),
      el('span', {class: 'soft'}, miou === undefined ? split : `${split} · IoU ${percent(miou, 0)}`)));
  }

  /** Those of the present choice that have labels and no score. */
  unscored() {
    return this.app.gallery.photos.filter((photo) => photo.labelled && !this.app.scores.has(photo.id) &&
      (!this.wish.split || photo.split === this.wish.split));
  }

  setScoreButton() {
    const left = this.unscored().length;
    this.score.hidden = left === 0 && !this.scoring;
    this.score.textContent = this.scoring ? `Stop scoring (${left} left)` : `Score ${left} photos`;
    this.bar.hidden = !this.scoring;
    if (this.scoring) this.bar.value = 1 - left / this.scoring.total;
  }

  /** What the API knows already. */
  async fetchScores() {
    const {model} = this.app;
    if (this.app.scoresKnown === model || this.stop.signal.aborted) return;
    this.app.scoresKnown = model;
    try {
      const known = await askJson(`v1/scores?model=${encodeURIComponent(model)}`, {signal: this.stop.signal});
      if (this.stop.signal.aborted || this.app.model !== model) return;
      for (const {id, miou, iou} of known.images) this.app.scores.set(id, {miou, iou});
      this.show();
    } catch (error) {
      if (this.app.scoresKnown === model) this.app.scoresKnown = '';
      if (error.kind !== 'aborted') this.app.say(`The scores did not come: ${error.message}`);
    }
  }

  stopScoring() {
    this.scoring.stop.abort();
    this.scoring = null;
    this.show();
  }

  async scoreAll() {
    if (this.stop.signal.aborted) return;
    const stop = new AbortController();
    this.stop.signal.addEventListener('abort', () => stop.abort());
    const queue = this.unscored();
    this.scoring = {stop, total: queue.length};
    this.setScoreButton();
    const {model} = this.app;
    const outdated = () => stop.signal.aborted || this.app.model !== model;
    let failed = 0;
    const work = async () => {
      for (let photo; !stop.signal.aborted && (photo = queue.shift());) {
        try {
          const {miou, iou} = await askJson(`v1/images/${encodeURIComponent(photo.id)}/metrics?model=${encodeURIComponent(model)}`,
            {signal: stop.signal, quiet: true});
          if (outdated()) return;
          this.app.scores.set(photo.id, {miou, iou: this.app.classes.map((c) => iou[c.name] ?? null)});
        } catch (error) {
          if (error.kind === 'aborted' || outdated()) return;
          if (error.kind === 'down') {
            this.app.say('The API went away: scoring has stopped, and what was scored stays.');
            stop.abort();
            return;
          }
          const never = error.kind === 'refused' && error.status !== 401;
          if (never) this.app.scores.set(photo.id, {miou: null, iou: []});
          else ++failed;
        }
        this.setScoreButton();
      }
    };
    await Promise.all(Array.from({length: kScorers}, work));
    if (this.scoring?.stop === stop) this.scoring = null;
    if (failed > 0 && !outdated()) this.app.say(`The API gave no score of ${failed} ${failed === 1 ? 'photo' : 'photos'}: try again later.`);
    if (!this.stop.signal.aborted) this.show();
  }

  key(event) {
    if (event.key !== '/') return false;
    this.search.focus();
    return true;
  }
}

export const kGalleryKeys = [['/', 'search'], ['Tab, Enter', 'choose a photo, open it']];
