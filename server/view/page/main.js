// Start: what is served, which page the address names, and what is the same on all pages.

import {apiState, askJson} from './api.js';
import {byId, el} from './dom.js';
import {Detail, kDetailKeys} from './detail.js';
import {Gallery, kGalleryKeys, listPhotos} from './gallery.js';
import {gallerySource} from './loaded.js';
import {OwnPage, OwnPhotos, takeFiles} from './own.js';
import {addressOf, noteInAddress, prefer, preferences, readAddress} from './preferences.js';

const kCheckEvery = 2000;  // milliseconds, while the API is down
const kThemes = ['auto', 'light', 'dark'];
const kPageKeys = [['g', 'gallery'], ['u', 'own photos'], ['?', 'this help']];

const app = {
  models: [], model: '', classes: [], gallery: null, sequence: [], galleryAddress: '#/',
  scores: new Map(), scoresKnown: '', own: new OwnPhotos(), say, go: (address) => { location.hash = address; },
  take: (files) => takeFiles(files, app.own, app.go).then((wrong) => { if (wrong.length) say(wrong.join('; ')); }),
};
let page = null;      // what is shown: {element, end(), key(event)}
let started = false;  // whether the API has said what it serves
let sayTimer = 0;

// The line below the header.

function banner(text, kind) {
  const line = byId('banner');
  line.textContent = text;
  line.className = kind;
  line.hidden = text === '';
}

function say(text) {
  clearTimeout(sayTimer);
  banner(text, 'said');
  sayTimer = setTimeout(() => banner('', ''), 8000);
}

let checking = 0;
let busyUntil = 0;  // other requests that go well meanwhile do not end the wait of one
apiState.addEventListener('change', ({detail: {state, wait, text}}) => {
  const line = byId('banner');
  if (state === 'well') {
    if (line.className !== 'said' && Date.now() >= busyUntil) banner('', '');
    clearTimeout(checking);
    checking = 0;
  } else if (state === 'slow') banner('The API takes its time …', 'slow');
  else if (state === 'busy') {
    busyUntil = Date.now() + 1000 * wait;
    banner(`The API is busy (${text || 'too many requests'}): trying again in ${wait} s …`, 'busy');
  } else if (state === 'down') {
    banner('The API cannot be reached. Trying again …', 'down');
    if (!checking) checking = setTimeout(check, kCheckEvery);
  }
});

/** Whether the API is back: then what is shown is loaded anew. */
async function check() {
  checking = 0;
  try {
    await askJson('v1/models', {quiet: true});
    say('The API is back.');
    if (!started) start();
    else if (page instanceof Detail) page.reload();
  } catch (error) {
    if (error.kind !== 'down' && !checking) checking = setTimeout(check, kCheckEvery);
  }
}

// What is served.

/** False when another model was chosen meanwhile. */
async function loadClasses() {
  const {model} = app;
  const {classes} = await askJson(`v1/classes?model=${encodeURIComponent(model)}`);
  if (!Array.isArray(classes)) throw new Error('the API names no classes: is it the API of Macadam?');
  if (app.model !== model) return false;
  app.classes = classes;
  return true;
}

async function chooseModel(name) {
  page?.end();  // what it still waits for is the other model's
  app.model = name;
  app.scores.clear();
  app.scoresKnown = '';
  noteInAddress({model: name === app.models[0].name ? '' : name});
  if (await loadClasses()) show();
}

async function start() {
  try {
    const {models} = await askJson('v1/models');
    if (!Array.isArray(models)) throw new Error('this is not the API of Macadam, or one of another version');
    if (models.length === 0) throw Object.assign(new Error('its models are still being loaded'), {kind: 'busy'});
    app.models = models;
    const asked = readAddress().query.get('model');
    app.model = models.some((m) => m.name === asked) ? asked : models[0].name;
    byId('model').replaceChildren(...models.map((m) => el('option', {value: m.name, textContent: m.name, selected: m.name === app.model})));
    const [gallery] = await Promise.all([
      listPhotos().catch((error) => {
        if (error.status === 404) return null;  // it has no gallery
        throw error;
      }),
      loadClasses(),
    ]);
    app.gallery = gallery;
    app.sequence = gallery ? gallery.photos.map((photo) => photo.id) : [];
    started = true;
    show();
  } catch (error) {
    showProblem(error);
    setTimeout(() => {
      if (!started && !checking) checking = setTimeout(check, kCheckEvery);
    });
  }
}

function showProblem(error) {
  put({element: el('div', {class: 'problem'}, el('h1', {textContent: error.kind === 'busy' ? 'Not ready yet' : 'Nothing to show yet'}),
    el('p', {textContent: `The API did not answer as it should: ${error.message}.`}),
    el('p', {class: 'soft', textContent: 'This page goes on by itself as soon as it does.'})), end() {}, key: () => false});
}

// Pages.

function put(next) {
  page?.end();
  page = next;
  byId('main').replaceChildren(next.element);
  document.title = next.source ? `${next.source.name} – Macadam` : 'Macadam';
}

function empty(title, text) {
  return {element: el('div', {class: 'problem'}, el('h1', {textContent: title}), el('p', {textContent: text}),
    el('p', {}, el('a', {href: '#/', textContent: 'To the gallery'}))), end() {}, key: () => false};
}

function imagePage(id, query) {
  const photo = app.gallery?.photos.find((p) => p.id === id);
  if (!photo) return empty('No such photo', 'The gallery has no photo of this name.');
  const at = app.sequence.indexOf(id);
  const link = (i) => (app.sequence[i] === undefined || at < 0 ? null : addressOf(['image', app.sequence[i]]));
  return new Detail(app, gallerySource(photo), {back: app.galleryAddress, backText: 'Gallery', previous: link(at - 1), next: link(at + 1),
    place: at < 0 ? '' : `${at + 1} of ${app.sequence.length}`}, query);
}

function ownPage(number, query) {
  const {list} = app.own;
  const at = Number(number);
  if (!list[at]) return empty('No such photo', 'Own photos stay in the page that they were brought to.');
  const link = (i) => (list[i] ? addressOf(['own', String(i)]) : null);
  return new Detail(app, list[at].source, {back: '#/own', backText: 'Own photos', previous: link(at - 1), next: link(at + 1),
    place: `${at + 1} of ${list.length}`}, query);
}

async function show() {
  const {page: [name = 'gallery', what], query} = readAddress();
  for (const link of document.querySelectorAll('nav a')) {
    const current = link.dataset.page === name || (name === 'image' && link.dataset.page === 'gallery');
    if (current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  if (name === 'runs') {
    const {RunsPage} = await import('./runs.js');
    return put(new RunsPage(app, query));
  }
  if (!started) return undefined;
  if (name === 'image') return put(imagePage(what ?? '', query));
  if (name === 'own') return put(what === undefined ? new OwnPage(app) : ownPage(what, query));
  if (!app.gallery) {
    return put(empty('No gallery', 'The API serves models without a gallery (macadam serve --gallery DATASET). Own photos work.'));
  }
  return put(new Gallery(app, query));
}

// Keys, files, theme.

function showKeys() {
  const keys = [...kPageKeys, ...kGalleryKeys, ...kDetailKeys];
  byId('keys').querySelector('dl').replaceChildren(...keys.flatMap(([key, text]) =>
    [el('dt', {}, el('kbd', {textContent: key})), el('dd', {textContent: text})]));
  byId('keys').showModal();
}

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
  const tag = event.target.tagName;
  if (tag === 'INPUT' || tag === 'SELECT' || tag === 'TEXTAREA') return;
  if (event.key === ' ' && (tag === 'BUTTON' || tag === 'A' || tag === 'SUMMARY')) return;
  const common = {'?': showKeys, g: () => app.go(app.galleryAddress), u: () => app.go('#/own')}[event.key];
  if (page?.key(event)) event.preventDefault();
  else if (common) {
    event.preventDefault();
    common();
  }
});
document.addEventListener('keyup', (event) => page?.keyUp?.(event));

function listenForFiles() {
  const hasFiles = (event) => event.dataTransfer?.types.includes('Files');
  const drop = byId('drop');
  document.addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    drop.hidden = false;
  });
  document.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) drop.hidden = true;
  });
  document.addEventListener('drop', (event) => {
    drop.hidden = true;
    if (!hasFiles(event)) return;
    event.preventDefault();
    app.take([...event.dataTransfer.files]);
  });
  document.addEventListener('paste', (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length > 0) app.take(files);
  });
}

function applyTheme() {
  const {theme} = preferences;
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  byId('theme').title = `Theme: ${theme}`;
}

applyTheme();
byId('theme').addEventListener('click', () => {
  prefer('theme', kThemes[(kThemes.indexOf(preferences.theme) + 1) % kThemes.length]);
  applyTheme();
});
byId('help').addEventListener('click', showKeys);
byId('model').addEventListener('change', (event) => chooseModel(event.target.value).catch(showProblem));
window.addEventListener('hashchange', show);
listenForFiles();
fetch('viewer.json').then((response) => response.json()).then(({runs}) => {
  document.querySelector('[data-page=runs]').hidden = !runs;
}).catch(() => {});
show();
start();
