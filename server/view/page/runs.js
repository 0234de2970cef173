// Training runs beside each other: curves, scores, classes, settings, and how samples became better.

import {chart} from './chart.js';
import {duration, el, percent} from './dom.js';
import {noteInAddress} from './preferences.js';

const kColors = ['#2f6db5', '#c2571a', '#2b8a57', '#8a4fb0', '#b8336a', '#7a6a1f', '#1f8a93', '#666666'];
const kFirstChosen = 4;

async function get(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error((await response.json().catch(() => ({}))).error ?? `the viewer answered ${response.status}`);
  return response.json();
}

const plain = (name) => name.replace(/_/g, ' ');
const inPercent = (name) => /^(m|fw)?(iou|dice|acc)|accuracy/.test(name);
const scoreText = (name, value) => (value === null || value === undefined ? '–' : inPercent(name) ? percent(value) : value.toPrecision(3));

export class RunsPage {
  constructor(app, query) {
    this.app = app;
    this.chosen = new Set((query.get('runs') ?? '').split('|').filter(Boolean));
    this.metric = query.get('metric') ?? '';
    this.histories = new Map();
    this.scores = new Map();
    this.element = el('div', {class: 'runs'}, el('h1', {textContent: 'Runs'}), el('p', {class: 'soft', textContent: 'Loading …'}));
    this.ended = false;
    this.load();
  }
  end() {
    this.ended = true;
  }
  key() {
    return false;
  }

  async load() {
    try {
      ({runs: this.runs} = await get('runs'));
    } catch (error) {
      return this.element.replaceChildren(el('h1', {textContent: 'Runs'}), el('p', {class: 'failure', textContent: error.message}));
    }
    this.good = this.runs.filter((run) => !run.error);
    const known = new Set(this.good.map((run) => run.name));
    this.chosen = new Set([...this.chosen].filter((name) => known.has(name)));
    if (this.chosen.size === 0) for (const run of this.good.slice(0, kFirstChosen)) this.chosen.add(run.name);
    return this.show();
  }

  color(name) {
    return kColors[this.good.findIndex((run) => run.name === name) % kColors.length];
  }
  get selected() {
    return this.good.filter((run) => this.chosen.has(run.name));
  }

  async show() {
    noteInAddress({runs: [...this.chosen].join('|'), metric: this.metric});
    const table = this.table();
    if (this.runs.length === 0) {
      return this.element.replaceChildren(el('h1', {textContent: 'Runs'}), el('p', {textContent: 'There are no runs in this folder yet: macadam train makes one.'}));
    }
    await Promise.all(this.selected.map(async ({name}) => {
      const path = `runs/${encodeURIComponent(name)}`;
      if (!this.histories.has(name)) this.histories.set(name, (await get(`${path}/history`).catch(() => ({epochs: []}))).epochs);
      if (!this.scores.has(name)) this.scores.set(name, await get(`${path}/scores`).catch(() => null));
    }));
    if (this.ended) return undefined;
    return this.element.replaceChildren(el('h1', {textContent: 'Runs'}), table, this.curves(), this.classes(), this.samples(), this.settings());
  }

  table() {
    const names = [...new Set(this.good.flatMap((run) => Object.keys(run.scores)))];
    const head = (text) => el('th', {scope: 'col', textContent: text});
    const rows = this.runs.map((run) => {
      if (run.error) return el('tr', {}, el('td'), el('td', {textContent: run.name}), el('td', {colSpan: names.length + 5, class: 'soft', textContent: run.error}));
      const box = el('input', {type: 'checkbox', checked: this.chosen.has(run.name), 'aria-label': `Show ${run.name}`, on: {change: () => {
        if (!this.chosen.delete(run.name)) this.chosen.add(run.name);
        this.show();
      }}});
      const chip = el('span', {class: 'chip'});
      chip.style.background = this.color(run.name);
      return el('tr', {}, el('td', {}, box), el('th', {scope: 'row'}, chip, run.name), el('td', {textContent: run.config.network ?? ''}),
        el('td', {textContent: run.config.loss ?? ''}), el('td', {textContent: `${run.best_epoch ?? '–'} of ${run.epochs}`}),
        names.map((name) => el('td', {class: 'n', textContent: scoreText(name, run.scores[name])})),
        el('td', {class: 'n', textContent: duration(run.seconds)}),
        el('td', {}, run.report ? el('a', {href: `runs/${encodeURIComponent(run.name)}/report`, target: '_blank', rel: 'noopener', textContent: 'report'}) : ''));
    });
    return el('div', {class: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'Runs'}, el('table', {class: 'table'},
      el('thead', {}, el('tr', {}, el('th', {scope: 'col', 'aria-label': 'shown'}), ['run', 'network', 'loss', 'best epoch'].map(head), names.map((n) => head(plain(n))), head('time'), head(''))),
      el('tbody', {}, rows)));
  }

  curves() {
    const names = [...new Set([...this.histories.values()].flat().flatMap((epoch) => Object.keys(epoch.values)))];
    if (!names.includes(this.metric)) this.metric = names.find((n) => n.startsWith('miou')) ?? names[0] ?? '';
    const reading = el('p', {class: 'hover', textContent: ' '});
    const draw = () => chart(`${plain(this.metric)} over the epochs`, this.selected.map(({name}) => ({name, color: this.color(name),
      points: (this.histories.get(name) ?? []).map((e) => [e.epoch, e.values[this.metric]]).filter(([, v]) => typeof v === 'number')})), (points) => {
      reading.textContent = points.length ? `epoch ${points[0].x}: ${points.map((p) => `${p.name} ${scoreText(this.metric, p.y)}`).join('  ·  ')}` : ' ';
    });
    const figure = el('div', {}, draw());
    const select = el('select', {on: {change: () => {
      this.metric = select.value;
      noteInAddress({metric: this.metric});
      figure.replaceChildren(draw());
    }}}, names.map((n) => el('option', {value: n, textContent: plain(n), selected: n === this.metric})));
    return el('section', {}, el('h2', {}, 'Curves ', el('label', {class: 'field'}, ' of ', select)), figure, reading);
  }

  /** IoU of each class, and how much better than in the first run. */
  classes() {
    const runs = this.selected.filter((run) => this.scores.get(run.name)?.classes);
    if (runs.length === 0) return el('section', {}, el('h2', {textContent: 'Classes'}), el('p', {class: 'soft', textContent: 'The runs that are chosen have no scores of classes (scores.json).'}));
    const iou = (run, name) => this.scores.get(run.name).classes.find((c) => c.name === name)?.iou ?? null;
    const names = [...new Set(runs.flatMap((run) => this.scores.get(run.name).classes.map((c) => c.name)))];
    const cell = (run, name, i) => {
      const value = iou(run, name), first = iou(runs[0], name);
      const better = i > 0 && value !== null && first !== null ? value - first : null;
      return el('td', {class: 'n'}, percent(value), better === null ? '' :
        el('span', {class: better >= 0 ? 'better' : 'worse', textContent: ` ${better >= 0 ? '+' : '−'}${(100 * Math.abs(better)).toFixed(1)}`}));
    };
    return el('section', {}, el('h2', {textContent: 'IoU of the classes'}), el('div', {class: 'scroll', tabIndex: 0, role: 'region', 'aria-label': 'IoU of the classes'}, el('table', {class: 'table'},
      el('thead', {}, el('tr', {}, el('th', {scope: 'col', textContent: 'class'}), runs.map((run) => el('th', {scope: 'col', class: 'n', textContent: run.name})))),
      el('tbody', {}, names.map((name) => el('tr', {}, el('th', {scope: 'row', textContent: name}), runs.map((run, i) => cell(run, name, i))))))));
  }

  /** A sample at an epoch, run by run. */
  samples() {
    const runs = this.selected.filter((run) => Object.keys(run.epoch_samples).length > 0 || run.samples.length > 0);
    if (runs.length === 0) return null;
    const names = [...new Set(runs.flatMap((run) => Object.keys(run.epoch_samples)))];
    const section = el('section', {}, el('h2', {textContent: 'Samples'}));
    if (names.length > 0) {
      const last = Math.max(...runs.map((run) => run.epochs));
      const select = el('select', {on: {change: () => update()}}, names.map((n) => el('option', {value: n, textContent: n})));
      const range = el('input', {type: 'range', min: 1, max: last, value: last, 'aria-label': 'Epoch', on: {input: () => update()}});
      const text = el('output');
      const row = el('div', {class: 'samples'});
      const update = () => {
        text.textContent = `epoch ${range.value} of ${last}`;
        row.replaceChildren(...runs.filter((run) => run.epoch_samples[select.value]).map((run) => {
          const files = run.epoch_samples[select.value];
          const at = files.filter((f) => /^\d+\.png$/.test(f) && parseInt(f, 10) <= Number(range.value)).at(-1) ?? files[0];
          const path = `runs/${encodeURIComponent(run.name)}/epochs/${encodeURIComponent(select.value)}/`;
          const extra = files.filter((f) => !/^\d+\.png$/.test(f));
          return el('figure', {}, el('figcaption', {textContent: run.name}),
            [...extra, at].map((file) => el('img', {src: path + encodeURIComponent(file), class: 'crisp',
              alt: /^\d/.test(file) ? `Mask of ${run.name} after epoch ${parseInt(file, 10)}` : file.replace('.png', '')})));
        }));
      };
      update();
      section.append(el('div', {class: 'tools'}, el('label', {class: 'field'}, 'Sample ', select), el('label', {class: 'slider'}, el('span', {textContent: 'Epoch'}), range, text)), row);
    }
    section.append(...runs.filter((run) => run.samples.length > 0).map((run) => el('details', {},
      el('summary', {textContent: `${run.name}: ${run.samples.length} samples of the best epoch`}),
      run.samples.map((file) => el('figure', {}, el('img', {loading: 'lazy', class: 'sheet', alt: `Sample ${file}`,
        src: `runs/${encodeURIComponent(run.name)}/samples/${encodeURIComponent(file)}`}), el('figcaption', {textContent: file}))))));
    return section;
  }

  /** The keys in which the chosen runs differ. */
  settings() {
    const runs = this.selected;
    const keys = [...new Set(runs.flatMap((run) => Object.keys(run.config)))].filter((key) =>
      runs.length === 1 || new Set(runs.map((run) => run.config[key])).size > 1);
    const title = runs.length === 1 ? 'Settings' : 'Settings that differ';
    if (keys.length === 0) return el('section', {}, el('h2', {textContent: title}), el('p', {class: 'soft', textContent: 'none'}));
    return el('section', {}, el('h2', {textContent: title}), el('div', {class: 'scroll', tabIndex: 0, role: 'region', 'aria-label': title}, el('table', {class: 'table'},
      el('thead', {}, el('tr', {}, el('th', {scope: 'col', textContent: 'key'}), runs.map((run) => el('th', {scope: 'col', textContent: run.name})))),
      el('tbody', {}, keys.map((key) => el('tr', {}, el('th', {scope: 'row', textContent: key}), runs.map((run) => el('td', {textContent: run.config[key] ?? '–'}))))))));
  }
}
