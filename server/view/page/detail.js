// One photo: what it shows, what it should show, and what a model makes of it.

import {askJson} from './api.js';
import {choice, el, milliseconds, percent, perFrame, slider} from './dom.js';
import {saveCoco, saveCvat, saveFigures, saveMask, saveOverlay} from './exports.js';
import {Legend} from './legend.js';
import {Loaded} from './loaded.js';
import {classTable, confidenceTable, errorTable, paletteOf} from './painting.js';
import {Pane, View} from './pane.js';
import {classIous, countValues, kUnlabelled, valueAt} from './planes.js';
import {noteInAddress, prefer, preferences} from './preferences.js';

const kPanes = {photo: 'Photo', truth: 'Truth', prediction: 'Prediction', errors: 'Errors',
  confidence: 'Confidence', other: 'Other model', differences: 'Differences'};
const kStages = {queue: 'waited', decode: 'decoded', infer: 'network', encode: 'encoded'};

export class Detail {
  /** `source`: of loaded.js. `app`: what the pages share. `steps`: {previous, next, place} links. */
  constructor(app, source, steps, query) {
    this.app = app;
    this.source = source;
    this.loaded = new Loaded(source);
    this.view = new View();
    this.panes = new Map();
    this.lit = null;
    this.concealed = false;
    this.divider = 0.5;
    this.sides = {left: source.labelled ? 'truth' : 'photo', right: 'prediction'};
    this.other = query.get('with') ?? '';
    this.means = null;
    this.stop = new AbortController();
    this.legend = new Legend({change: () => this.setLayers(), light: (c) => this.light(c)});
    this.readQuery(query);
    this.build(steps);
    this.view.addEventListener('change', perFrame(() => this.noteView()));
    this.load();
  }

  end() {
    this.stop.abort();
    for (const pane of this.panes.values()) pane.end();
  }

  readQuery(query) {
    const number = (key, otherwise) => {
      const value = Number(query.get(key) ?? NaN);
      return Number.isFinite(value) ? value : otherwise;
    };
    this.layout = ['side', 'overlay'].includes(query.get('layout')) ? query.get('layout') : preferences.layout;
    const panes = query.get('panes')?.split('.').filter((p) => p in kPanes);
    this.chosen = new Set(panes?.length ? panes : preferences.panes.filter((p) => p in kPanes));
    if (this.other) this.chosen.add('other');
    for (const c of (query.get('hide') ?? '').split('.').filter((s) => /^\d+$/.test(s))) this.legend.hidden.add(Number(c));
    this.view.change(number('zoom', 1), number('x', 0.5), number('y', 0.5));
  }

  /** What the address says of this view, for whoever it is sent to. */
  noteView() {
    const {zoom, x, y} = this.view;
    const short = (value) => String(Math.round(value * 1e4) / 1e4);
    noteInAddress({model: this.app.model === this.app.models[0].name ? '' : this.app.model, with: this.other,
      layout: this.layout, panes: [...this.chosen].join('.'), hide: [...this.legend.hidden].join('.'),
      zoom: zoom === 1 ? '' : short(zoom), x: zoom === 1 ? '' : short(x), y: zoom === 1 ? '' : short(y)});
  }

  get classes() {
    return this.app.classes;
  }
  get palette() {
    return paletteOf(this.classes, preferences.palette === 'safe');
  }

  async load() {
    const {signal} = this.stop;
    const changed = (part) => {
      if (part === 'photo' && this.loaded.photo) this.layOut();
      this.setLegend();
      this.setFacts();
      this.setLayers();
    };
    this.model = this.app.model;
    await this.loaded.load(this.model, this.other, changed, signal);
    if (signal.aborted || !this.loaded.truth) return;
    try {
      this.means = await askJson(`v1/scores?model=${encodeURIComponent(this.model)}`, {signal, quiet: true});
      this.setLegend();
    } catch { /* the photo's own scores stand alone then */ }
  }

  /** After a failure, or for another model. */
  reload() {
    this.stop.abort();
    this.stop = new AbortController();
    Object.assign(this.loaded, {prediction: null, other: null, errors: null, differences: null, confidence: null});
    this.setLayers();
    this.load();
  }

  build(steps) {
    const {app, source} = this;
    this.stage = el('div', {class: 'stage'});
    this.hoverLine = el('p', {class: 'hover', textContent: ' '});
    this.facts = el('section', {class: 'facts', 'aria-label': 'Figures'});
    this.failure = el('p', {class: 'failure', role: 'alert', hidden: true});
    const sliders = {
      opacity: slider('Mask', {min: 0, max: 1, step: 0.05, value: preferences.opacity, show: (v) => percent(v, 0)},
        (value) => this.prefer('opacity', value)),
      brightness: slider('Brightness', {min: 0.2, max: 3, step: 0.1, value: preferences.brightness, show: (v) => `${v.toFixed(1)}×`},
        (value) => this.prefer('brightness', value)),
      contrast: slider('Contrast', {min: 0.2, max: 3, step: 0.1, value: preferences.contrast, show: (v) => `${v.toFixed(1)}×`},
        (value) => this.prefer('contrast', value)),
      threshold: slider('Confidence up to', {min: 0, max: 255, step: 1, value: preferences.threshold, show: (v) => percent(v / 255, 0)},
        (value) => this.prefer('threshold', value)),
    };
    this.sliders = sliders;
    this.thresholdRow = sliders.threshold.element;
    const hide = el('button', {type: 'button', textContent: 'Hide (hold)', title: 'Hold, or hold the space bar', on: {
      pointerdown: () => this.conceal(true), pointerup: () => this.conceal(false), pointerleave: () => this.conceal(false)}});
    const style = choice('Mask as', [['fill', 'Fill'], ['outline', 'Outline']], preferences.style, (v) => this.prefer('style', v));
    const safe = el('label', {class: 'check'}, el('input', {type: 'checkbox', checked: preferences.palette === 'safe',
      on: {change: (event) => {
        this.prefer('palette', event.target.checked ? 'safe' : 'own');
        this.setLegend();
      }}}), 'Color-blind colors');
    this.layoutChoice = choice('Layout', [['side', 'Side by side'], ['overlay', 'Overlay']], this.layout, (value) => {
      this.layout = value;
      prefer('layout', value);
      this.layOut();
      this.noteView();
    });
    this.paneChoice = el('div', {class: 'choice', role: 'group', 'aria-label': 'Panes'});
    const compare = el('select', {'aria-label': 'Compare with', on: {change: (event) => this.compare(event.target.value)}},
      el('option', {value: '', textContent: 'no other model'}),
      app.models.map((m) => el('option', {value: m.name, textContent: m.name, selected: m.name === this.other})));
    const item = (text, action) => el('button', {type: 'button', textContent: text, on: {click: () => {
      this.menu.open = false;
      action();
    }}});
    const whenThere = (action) => () => {
      if (this.loaded.prediction && this.loaded.photo) action();
      else this.say('There is no mask yet.');
    };
    this.menu = el('details', {class: 'menu'}, el('summary', {textContent: 'Download'}), el('div', {},
      item('Mask (PNG)', whenThere(() => saveMask(source.name, this.loaded.mask))),
      item('Overlay (PNG)', whenThere(() => saveOverlay(source.name, this.loaded.photo, this.loaded.prediction,
        this.palette, preferences.opacity, this.legend.hidden))),
      item('Figures (JSON)', whenThere(() => saveFigures(source.name, this.figures()))),
      item('COCO pre-annotation', whenThere(() => saveCoco(source.name, this.loaded.prediction, this.classes))),
      item('CVAT pre-annotation', whenThere(() => saveCvat(source.name, this.loaded.prediction, this.classes)))));
    const step = (link, text, key) => el('a', {class: `button${link ? '' : ' off'}`, href: link ?? undefined,
      textContent: text, title: key, 'aria-disabled': link ? undefined : 'true', rel: text === '←' ? 'prev' : 'next',
      'aria-label': text === '←' ? 'The photo before' : 'The next photo'});
    this.element = el('div', {class: 'detail'},
      el('div', {class: 'head'}, el('a', {class: 'button', href: steps.back, textContent: steps.backText}),
        step(steps.previous, '←', 'k'), step(steps.next, '→', 'j'),
        el('h1', {textContent: source.name}), el('span', {class: 'soft', textContent: steps.place ?? ''})),
      el('div', {class: 'tools', role: 'toolbar', 'aria-label': 'View'}, this.layoutChoice, this.paneChoice, style,
        sliders.opacity.element, hide,
        el('details', {class: 'menu'}, el('summary', {textContent: 'Photo'}), el('div', {class: 'wide'},
          sliders.brightness.element, sliders.contrast.element, safe)),
        this.thresholdRow, el('label', {class: 'field'}, 'With ', compare), this.menu),
      this.failure,
      el('div', {class: 'body'}, el('div', {class: 'left'}, this.stage, this.hoverLine),
        el('aside', {}, this.legend.element, this.facts)));
    this.layOut();
  }

  prefer(key, value) {
    prefer(key, value);
    this.setLayers();
  }

  say(text) {
    this.app.say(text);
  }

  conceal(concealed) {
    if (this.concealed === concealed) return;
    this.concealed = concealed;
    this.setLayers();
  }

  compare(name) {
    this.other = name;
    for (const pane of ['other', 'differences']) {
      if (name) this.chosen.add(pane);
      else this.chosen.delete(pane);
    }
    this.layOut();
    this.noteView();
    this.reload();
  }

  /** The panes that there can be. */
  possible() {
    return Object.keys(kPanes).filter((pane) => {
      if (pane === 'truth' || pane === 'errors') return this.source.labelled;
      return pane === 'other' || pane === 'differences' ? this.other !== '' : true;
    });
  }

  title(pane) {
    if (pane === 'prediction') return this.other ? this.app.model : kPanes.prediction;
    return pane === 'other' ? this.other : kPanes[pane];
  }

  layOut() {
    for (const pane of this.panes.values()) pane.end();
    this.panes.clear();
    const possible = this.possible();
    this.paneChoice.hidden = this.layout === 'overlay';
    this.paneChoice.replaceChildren(...possible.map((name) => el('button', {type: 'button', textContent: this.title(name),
      'aria-pressed': String(this.chosen.has(name)), data: {pane: name}, on: {click: () => this.togglePane(name)}})));
    const names = this.layout === 'overlay' ? ['overlay'] : possible.filter((name) => this.chosen.has(name));
    for (const name of names) {
      const title = name === 'overlay' ? 'Overlay' : this.title(name);
      this.panes.set(name, new Pane(this.view, title, {hover: (place, pane) => this.hover(place, pane)}));
    }
    this.stage.replaceChildren(...[...this.panes.values()].map((pane) => pane.element));
    this.stage.className = `stage of${this.panes.size}`;
    if (this.layout === 'overlay') this.addDivider(this.panes.get('overlay'), possible);
    this.setLayers();
  }

  togglePane(name) {
    if (!this.possible().includes(name)) return;
    if (!this.chosen.delete(name)) this.chosen.add(name);
    if (this.chosen.size === 0) this.chosen.add('prediction');
    prefer('panes', [...this.chosen].filter((p) => p !== 'other' && p !== 'differences'));
    this.layOut();
    this.noteView();
  }

  addDivider(pane, possible) {
    const bar = el('div', {class: 'divider', tabIndex: 0, role: 'slider', 'aria-label': 'Divider', 'aria-valuemin': '0', 'aria-valuemax': '100'});
    const set = (part) => {
      this.divider = Math.min(Math.max(part, 0), 1);
      bar.style.left = `${100 * this.divider}%`;
      bar.setAttribute('aria-valuenow', String(Math.round(100 * this.divider)));
      this.setLayers();
    };
    bar.addEventListener('pointerdown', (event) => bar.setPointerCapture(event.pointerId));
    bar.addEventListener('pointermove', (event) => {
      if (!bar.hasPointerCapture(event.pointerId)) return;
      const box = pane.area.getBoundingClientRect();
      set((event.clientX - box.left) / box.width);
    });
    bar.addEventListener('keydown', (event) => {
      const move = {ArrowLeft: -0.02, ArrowRight: 0.02}[event.key];
      if (!move) return;
      event.preventDefault();
      event.stopPropagation();
      set(this.divider + move);
    });
    pane.area.append(bar);
    const side = (which) => el('select', {'aria-label': which === 'left' ? 'Left of the divider' : 'Right of the divider',
      on: {change: (event) => {
        this.sides[which] = event.target.value;
        this.setLayers();
      }}}, possible.map((name) => el('option', {value: name, textContent: this.title(name), selected: name === this.sides[which]})));
    pane.title.replaceChildren(side('left'), ' | ', side('right'));
    set(this.divider);
  }

  /** What lies over the photo in a pane; null where there is nothing yet. */
  layer(name) {
    const look = {opacity: preferences.opacity, hidden: this.legend.hidden, lit: this.lit};
    const {loaded} = this;
    if (name === 'errors' || name === 'differences') {
      return loaded[name] && {plane: loaded[name], table: errorTable(this.classes.length, look)};
    }
    if (name === 'confidence') {
      return loaded.confidence && {plane: loaded.confidence, table: confidenceTable(preferences.threshold, preferences.opacity)};
    }
    return loaded[name] && {plane: loaded[name], table: classTable(this.palette, look), outline: preferences.style === 'outline'};
  }

  setLayers() {
    const {photo, failures} = this.loaded;
    const filter = `brightness(${preferences.brightness}) contrast(${preferences.contrast})`;
    const layersOf = (name, part) => {
      const layer = this.concealed || name === 'photo' ? null : this.layer(name);
      return layer ? [{...layer, part}] : [];
    };
    const noteOf = (name) => {
      if (failures.photo) return failures.photo;
      if (!photo) return 'Loading the photo …';
      if (name === 'photo' || name === 'overlay') return '';
      const part = name === 'truth' || name === 'other' ? name : 'prediction';
      if (failures[part]) return failures[part];
      return this.loaded[name] || this.concealed ? '' : name === 'truth' ? 'Loading the labels …' : 'The model is looking …';
    };
    for (const [name, pane] of this.panes) {
      const layers = name === 'overlay'
        ? [...layersOf(this.sides.left, [0, this.divider]), ...layersOf(this.sides.right, [this.divider, 1])]
        : layersOf(name);
      pane.set({photo, layers, filter, note: noteOf(name)});
    }
    this.thresholdRow.hidden = this.layout === 'overlay'
      ? ![this.sides.left, this.sides.right].includes('confidence') : !this.chosen.has('confidence');
    const failed = Object.values(failures);
    this.failure.hidden = failed.length === 0;
    if (failed.length > 0) {
      this.failure.replaceChildren(`${failed[0][0].toUpperCase()}${failed[0].slice(1)}. `, el('button', {type: 'button', textContent: 'Try again', on: {click: () => this.reload()}}));
    }
  }

  light(c) {
    this.lit = c;
    this.setLayers();
  }

  hover(place, from) {
    for (const pane of this.panes.values()) pane.point(place && pane !== from ? place : null);
    const {photo, truth, prediction, confidence, other} = this.loaded;
    if (!place || !photo || place.x < 0 || place.y < 0 || place.x >= photo.width || place.y >= photo.height) {
      this.hoverLine.textContent = ' ';
      this.legend.mark(null);
      return;
    }
    const name = (value) => (value === kUnlabelled ? 'unlabelled' : this.classes[value]?.name ?? `class ${value}`);
    const words = [`${Math.floor(place.x)}, ${Math.floor(place.y)}`];
    const label = valueAt(truth, place.x, place.y, photo), guess = valueAt(prediction, place.x, place.y, photo);
    if (label !== null) words.push(`truth ${name(label)}`);
    if (guess !== null) words.push(`prediction ${name(guess)}`);
    const sure = valueAt(confidence, place.x, place.y, photo);
    if (sure !== null) words.push(`${percent(sure / 255, 0)} sure`);
    const second = valueAt(other, place.x, place.y, photo);
    if (second !== null) words.push(`${this.other}: ${name(second)}`);
    this.hoverLine.textContent = words.join('  ·  ');
    this.legend.mark(guess ?? label);
  }

  /** Scores of this photo; null without truth. */
  scores() {
    const {truth, prediction} = this.loaded;
    if (!truth || !prediction) return null;
    const iou = classIous(truth, prediction, this.classes.length);
    const known = iou.filter((v) => v !== null);
    return {iou, miou: known.length ? known.reduce((a, b) => a + b, 0) / known.length : null};
  }

  setLegend() {
    const {truth, prediction} = this.loaded;
    const inTruth = truth ? countValues(truth) : null, found = prediction ? countValues(prediction) : null;
    const scores = this.scores();
    const {palette} = this;
    const present = this.classes.filter((c) => inTruth?.[c.id] > 0 || found?.[c.id] > 0);
    this.legend.set(present.map((c) => ({id: c.id, name: c.name, color: palette[c.id],
      share: found ? found[c.id] / prediction.data.length : null, iou: scores?.iou[c.id] ?? null,
      mean: this.means?.iou[c.id] ?? null})));
    if (scores && this.app.model === this.model && !this.stop.signal.aborted) this.app.scores.set(this.source.name, scores);
  }

  setFacts() {
    const {photo, timing, batch} = this.loaded;
    const scores = this.scores();
    const rows = [];
    if (photo) rows.push(['Size', `${photo.width} × ${photo.height}`]);
    if (scores) rows.push(['Mean IoU', percent(scores.miou)]);
    for (const [stage, text] of Object.entries(kStages)) {
      if (timing?.[stage] !== undefined) rows.push([text, milliseconds(timing[stage])]);
    }
    if (batch > 1) rows.push(['in a batch of', String(batch)]);
    this.facts.replaceChildren(el('dl', {}, rows.map(([name, value]) => [el('dt', {textContent: name}), el('dd', {textContent: value})])));
  }

  figures() {
    const {prediction, photo, timing} = this.loaded;
    const scores = this.scores();
    const counts = countValues(prediction);
    return {image: this.source.name, model: this.app.model, width: photo.width, height: photo.height,
      miou: scores?.miou ?? null, milliseconds: timing,
      classes: this.classes.map((c) => ({id: c.id, name: c.name, pixels: counts[c.id], iou: scores?.iou[c.id] ?? null}))};
  }

  /** A key that was pressed; true when it meant something here. */
  key(event) {
    const panes = {p: 'photo', t: 'truth', r: 'prediction', e: 'errors', c: 'confidence', d: 'differences'};
    const press = {
      '+': () => this.view.zoomAt(1.5, this.view.x, this.view.y), '=': () => this.view.zoomAt(1.5, this.view.x, this.view.y),
      '-': () => this.view.zoomAt(1 / 1.5, this.view.x, this.view.y), 0: () => this.view.reset(),
      o: () => this.element.querySelector(`[data-value=${preferences.style === 'fill' ? 'outline' : 'fill'}]`).click(),
      l: () => this.layoutChoice.querySelector(`[data-value=${this.layout === 'side' ? 'overlay' : 'side'}]`).click(),
      '[': () => this.step(-0.1), ']': () => this.step(0.1), a: () => this.legend.show([]),
      j: () => this.go('next'), k: () => this.go('prev'), ArrowRight: () => this.go('next'), ArrowLeft: () => this.go('prev'),
      ' ': () => this.conceal(true),
    }[event.key];
    if (press) press();
    else if (/^[1-9]$/.test(event.key)) this.legend.toggleNth(Number(event.key) - 1);
    else if (panes[event.key]) this.togglePane(panes[event.key]);
    else return false;
    return true;
  }
  keyUp(event) {
    if (event.key === ' ') this.conceal(false);
  }
  step(by) {
    const value = Math.round(20 * Math.min(Math.max(preferences.opacity + by, 0), 1)) / 20;
    this.sliders.opacity.set(value);
    this.prefer('opacity', value);
  }
  go(rel) {
    this.element.querySelector(`a[rel=${rel}][href]`)?.click();
  }
}

export const kDetailKeys = [['j, →', 'next photo'], ['k, ←', 'photo before'], ['space', 'hold to hide the masks'],
  ['[ ]', 'weaker, stronger masks'], ['o', 'fill or outline'], ['l', 'side by side or overlay'],
  ['p t r e c d', 'photo, truth, prediction, errors, confidence, differences'], ['1 … 9', 'show or hide a class'],
  ['a', 'show all classes'], ['+ − 0', 'zoom in, out, all'], ['arrows', 'move, in a pane that is zoomed'],
  ['drag, wheel, double click', 'move, zoom, near or all']];
