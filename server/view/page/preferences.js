// What this browser remembers, and what an address says.

const kKey = 'macadam';
const kDefaults = {opacity: 0.55, style: 'fill', palette: 'own', theme: 'auto', layout: 'side',
  panes: ['photo', 'truth', 'prediction', 'errors'], brightness: 1, contrast: 1, threshold: 255};

function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(kKey)) ?? {};
    const known = Object.entries(kept).filter(([k, v]) => k in kDefaults && typeof v === typeof kDefaults[k]);
    return {...kDefaults, ...Object.fromEntries(known)};
  } catch {
    return {...kDefaults};  // storage may be forbidden
  }
}

export const preferences = load();

export function prefer(key, value) {
  preferences[key] = value;
  try {
    localStorage.setItem(kKey, JSON.stringify(preferences));
  } catch { /* it holds for this page then */ }
}

/** {page: ['image', 'val.a'], query: URLSearchParams} of the address. */
export function readAddress() {
  const [path, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const page = path.split('/').filter((s) => s !== '').map((s) => {
    try {
      return decodeURIComponent(s);
    } catch {
      return s;
    }
  });
  return {page, query: new URLSearchParams(query)};
}

export function addressOf(page, query = {}) {
  const text = new URLSearchParams(Object.entries(query).filter(([, v]) => v !== '' && v != null)).toString();
  return `#/${page.map(encodeURIComponent).join('/')}${text ? `?${text}` : ''}`;
}

/** Changes what the address says of the page that is shown, without leaving it. */
export function noteInAddress(changes) {
  const {page, query} = readAddress();
  for (const [key, value] of Object.entries(changes)) {
    if (value === '' || value === null || value === undefined) query.delete(key);
    else query.set(key, value);
  }
  history.replaceState(null, '', addressOf(page, Object.fromEntries(query)));
}
