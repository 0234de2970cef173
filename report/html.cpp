#include <fmt/format.h>

#include <algorithm>
#include <bitset>
#include <cmath>

#include "base/error.h"
#include "base/rgb.h"
#include "report/markup.h"
#include "report/picture.h"
#include "report/report.h"

namespace macadam {

namespace {

constexpr int kSampleWidth = 640;  ///< widest picture that is embedded

constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; --paper: #fff; --ink: #1f2328; --soft: #59636e; --line: #d9dde1;
  --bar: #4c86b8; --well: #f6f7f8; --track: #eef0f2; }
@media (prefers-color-scheme: dark) { :root { --paper: #16191d; --ink: #e6e9ec; --soft: #9aa4ae;
  --line: #343a41; --bar: #6ea3d0; --well: #1e2227; --track: #2b3036; }
  figure svg { background: #fff; border-radius: .4rem; } }
@media print { :root { color-scheme: light; --paper: #fff; --ink: #1f2328; --soft: #59636e;
  --line: #d9dde1; --bar: #4c86b8; --well: #f6f7f8; --track: #eef0f2; } }
* { box-sizing: border-box; }
html { background: var(--paper); }
body { margin: 0 auto; padding: 3rem 1.5rem 4rem; max-width: 52rem; color: var(--ink);
  font: 16px/1.55 system-ui, "Segoe UI", "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
h1 { margin: 0 0 .2rem; font-size: 2rem; line-height: 1.2; letter-spacing: -.01em;
  overflow-wrap: anywhere; }
h2 { margin: 3rem 0 .9rem; font-size: 1.25rem; line-height: 1.3; }
h3 { margin: 1.6rem 0 .5rem; font-size: .95rem; font-weight: 600; overflow-wrap: anywhere; }
p { margin: 0 0 1rem; }
.lead { color: var(--soft); margin-bottom: 2rem; }
.key { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1rem; margin: 0 0 2rem; padding: 0; }
.key div { border-top: 2px solid var(--ink); padding-top: .55rem; }
.key dt { color: var(--soft); font-size: .85rem; }
.key dd { margin: 0; font-size: 1.6rem; font-weight: 600; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .6rem; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
thead th { color: var(--soft); font-size: .85rem; font-weight: 600; }
th:first-child, td:first-child { padding-left: 0; }
th:last-child, td:last-child { padding-right: 0; }
.facts th { width: 11rem; color: var(--soft); font-weight: 400; }
.facts td { overflow-wrap: anywhere; }
.scores .n { width: 5.2rem; text-align: right; white-space: nowrap; }
.scores tfoot td, .scores tfoot th { border-bottom: 0; border-top: 2px solid var(--ink); font-weight: 600; }
.scores .b { width: 24%; }
.bar { display: block; height: .6rem; background: var(--track); }
.bar span { display: block; height: 100%; background: var(--bar); }
.absent { color: var(--soft); font-style: italic; }
.chip { display: inline-block; width: .8rem; height: .8rem; margin-right: .5rem;
  border: 1px solid #9a9fa4; vertical-align: -.05rem; }
figure { margin: 0 0 1.5rem; }
figure svg { display: block; width: 100%; height: auto; }
.sample { display: grid; grid-template-columns: repeat(4, 1fr); gap: .6rem;
  break-inside: avoid; }
.sample div { min-width: 0; }
.sample img { display: block; width: 100%; height: auto; }
.sample span { display: block; color: var(--soft); font-size: .8rem; padding-top: .2rem; }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.4rem; padding: 0; margin: 0 0 1.2rem;
  list-style: none; font-size: .9rem; }
pre { margin: 0; padding: 1rem 1.1rem; background: var(--well); border: 1px solid var(--line);
  font: .82rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  white-space: pre-wrap; overflow-wrap: anywhere; }
footer { margin-top: 3rem; padding-top: .8rem; border-top: 1px solid var(--line);
  color: var(--soft); font-size: .85rem; }
.wide { margin-left: min(0px, (52rem - 3rem - min(94vw, 84rem)) / 2);
  margin-right: min(0px, (52rem - 3rem - min(94vw, 84rem)) / 2); }
@media (max-width: 60rem) { .sample { grid-template-columns: repeat(2, 1fr); } }
@media (max-width: 36rem) { .key { grid-template-columns: repeat(2, 1fr); } .scores .b { display: none; }
  figure { overflow-x: auto; } figure svg { width: 44rem; } }
@media print {
  @page { margin: 18mm 16mm; }
  body { padding: 0; max-width: none; font-size: 10.5pt; }
  h2 { margin-top: 1.8rem; break-after: avoid; }
  h3 { break-after: avoid; }
  figure, table, .sample { break-inside: avoid; }
  .wide { margin-left: 0; margin-right: 0; }
  .sample { grid-template-columns: repeat(2, 1fr); }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
)";

std::string hex(const Rgb& c) { return fmt::format("#{:02x}{:02x}{:02x}", c[0], c[1], c[2]); }

std::string chip(const ClassScore& c) {
  return fmt::format("<span class=\"chip\" style=\"background:{}\"></span>{}", hex(c.color),
                     escape_markup(c.name));
}

/// The summary's rows; what is not known is left out.
std::string facts(const ReportData& d) {
  std::string rows;
  const auto row = [&](std::string_view name, const std::string& value) {
    if (value.empty()) return;
    rows +=
        fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", name, escape_markup(value));
  };
  row("Network", d.network);
  row("Parameters", d.parameters == 0 ? "" : grouped(d.parameters));
  row("Data set", d.dataset);
  row("Label set",
      d.label_set.empty() ? "" : fmt::format("{} ({} classes)", d.label_set, d.classes.size()));
  row("Size", d.height <= 0
                  ? ""
                  : fmt::format("{} \u00D7 {} pixels (width \u00D7 height)", d.width, d.height));
  row("Batch", d.batch <= 0 ? "" : std::to_string(d.batch));
  row("Precision", d.precision);
  row("Device", d.device);
  row("Epochs", std::to_string(d.history.size()));
  row("Best epoch", d.best_epoch <= 0 ? "" : std::to_string(d.best_epoch));
  row("Training time", duration(d.seconds));
  row("Memory of a step", d.step_bytes == 0
                              ? ""
                              : fmt::format("{} MiB, and {} MiB for parameters and their moments",
                                            d.step_bytes >> 20, d.parameter_bytes >> 20));
  double rate = 0, waited = 0, worked = 0;
  for (const EpochRecord& e : d.history) {
    if (std::isfinite(e.images_per_second)) rate = std::max(rate, e.images_per_second);
    if (std::isfinite(e.data_wait_seconds) && std::isfinite(e.seconds)) {
      waited += e.data_wait_seconds;
      worked += e.seconds;
    }
  }
  row("Throughput", rate <= 0 ? "" : fmt::format("{:.3g} images/s in the fastest epoch", rate));
  row("Waiting for data", worked <= 0 ? "" : percent(waited / worked) + " of the time");
  return "<table class=\"facts\"><tbody>\n" + rows + "</tbody></table>\n";
}

std::string key_figures(const ReportData& d) {
  std::string out = "<dl class=\"key\">\n";
  const auto figure = [&](std::string_view name, const std::string& value) {
    out += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", name, escape_markup(value));
  };
  for (const Score& score : d.scores) {
    std::string title = title_of(score.name);
    if (!title.empty() && title[0] >= 'a' && title[0] <= 'z')
      title[0] = static_cast<char>(title[0] - 'a' + 'A');
    figure(escape_markup(title), percent(score.value, "\u2013"));
  }
  figure("Training time", duration(d.seconds));
  return out + "</dl>\n";
}

std::string scores(const ReportData& d) {
  uint64_t total = 0;
  for (const ClassScore& c : d.classes) total += c.label_pixels;
  std::string out =
      "<table class=\"scores\"><thead><tr><th scope=\"col\">Class</th>"
      "<th scope=\"col\" class=\"b\"></th><th scope=\"col\" class=\"n\">IoU</th>"
      "<th scope=\"col\" class=\"n\">Dice</th><th scope=\"col\" class=\"n\">Precision</th>"
      "<th scope=\"col\" class=\"n\">Recall</th><th scope=\"col\" "
      "class=\"n\">Pixels</th></tr></thead>\n"
      "<tbody>\n";
  for (const ClassScore& c : d.classes) {
    const double share =
        total == 0 ? 0 : static_cast<double>(c.label_pixels) / static_cast<double>(total);
    out += fmt::format("<tr><td>{}</td>", chip(c));
    if (std::isfinite(c.iou)) {
      out += fmt::format(
          "<td class=\"b\"><span class=\"bar\"><span style=\"width:{:.1f}%\"></span></span></td>",
          100 * std::clamp(c.iou, 0.0, 1.0));
    } else {
      out += "<td class=\"b\"></td>";
    }
    for (double value : {c.iou, c.dice}) {
      out += fmt::format("<td class=\"n{}\">{}</td>", std::isfinite(value) ? "" : " absent",
                         percent(value));
    }
    for (double value : {c.precision, c.recall}) {
      out += fmt::format("<td class=\"n\">{}</td>", percent(value, "\u2013"));
    }
    out += fmt::format("<td class=\"n\">{}</td></tr>\n",
                       share > 0 && share < 0.0005 ? "&lt; 0.1%" : percent(share));
  }
  const auto mean = [&](std::string_view beginning) {
    const auto found = std::ranges::find_if(
        d.scores, [&](const Score& score) { return score.name.starts_with(beginning); });
    return percent(found == d.scores.end() ? NAN : found->value, "\u2013");
  };
  out += fmt::format(
      "</tbody>\n<tfoot><tr><th scope=\"row\">Mean</th><td class=\"b\"></td><td class=\"n\">{}</td>"
      "<td class=\"n\">{}</td><td class=\"n\"></td><td class=\"n\">{}</td><td "
      "class=\"n\"></td></tr>"
      "</tfoot></table>\n",
      mean("miou_"), mean("mdice_"), mean("macc_"));
  return out;
}

std::string picture(const Image& image, std::string_view caption, std::string_view name) {
  return fmt::format(
      "<div><img src=\"{}\" width=\"{}\" height=\"{}\" alt=\"{} of {}\"/><span>{}</span></div>\n",
      png_data_uri(encode_png(image)), image.width, image.height, caption, escape_markup(name),
      caption);
}

std::string samples(const ReportData& d, std::span<const ReportSample> samples) {
  const std::vector<Rgb> palette = palette_of(d.classes);
  std::bitset<256> present;
  std::string pictures;
  for (const ReportSample& sample : samples) {
    const Image photo = reduce(sample.photo, kSampleWidth),
                truth = reduce(sample.truth, kSampleWidth);
    const Image prediction = reduce(sample.prediction, kSampleWidth);
    for (uint8_t index : truth.pixels) present.set(index);
    for (uint8_t index : prediction.pixels) present.set(index);
    pictures += fmt::format("<h3>{}{}</h3>\n<div class=\"sample\">\n", escape_markup(sample.name),
                            std::isnan(sample.iou) ? "" : ", IoU " + percent(sample.iou));
    pictures += picture(photo, "Photo", sample.name);
    pictures += picture(colorize(truth, palette), "Truth", sample.name);
    pictures += picture(colorize(prediction, palette), "Prediction", sample.name);
    pictures +=
        picture(error_picture(photo, truth, prediction, palette.size()), "Errors", sample.name);
    pictures += "</div>\n";
  }
  std::string legend = "<ul class=\"legend\">\n";
  for (size_t c = 0; c < std::min<size_t>(d.classes.size(), 256); ++c) {
    if (present[c]) legend += "<li>" + chip(d.classes[c]) + "</li>\n";
  }
  return legend + "</ul>\n<div class=\"wide\">\n" + pictures + "</div>\n";
}

}  // namespace

std::string report_html(const ReportData& d) {
  std::string out = "<!DOCTYPE html>\n";
  const std::string title = escape_markup(d.title.empty() ? "Training run" : d.title);
  out += fmt::format(
      "<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n<meta "
      "charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
      "<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n",
      title, kStyle);
  out += fmt::format("<header>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n</header>\n<main>\n", title,
                     escape_markup(d.dataset.empty() ? d.network : d.network + " on " + d.dataset));
  out += key_figures(d) + facts(d);
  if (!d.classes.empty()) {
    out += "<h2>Scores of the classes</h2>\n" + scores(d);
    if (std::any_of(d.classes.begin(), d.classes.end(),
                    [](const ClassScore& c) { return !std::isfinite(c.iou); })) {
      out += fmt::format(
          "<p class=\"lead\">An absent class is neither in the truth nor in the prediction, and "
          "{} in the mean.</p>\n",
          d.absent == AbsentRule::drop  ? "does not count"
          : d.absent == AbsentRule::one ? "counts as 1"
                                        : "counts as 0");
    }
  }
  out += "<h2>Training</h2>\n<figure>\n" + curves_svg(d.history, d.best_epoch) + "</figure>\n";
  if (!d.confusion.empty()) {
    out += "<h2>Confusion</h2>\n<figure>\n" + confusion_svg(d.classes, d.confusion) + "</figure>\n";
  }
  if (!d.worst.empty()) {
    out +=
        "<h2>Where it errs most</h2>\n<p class=\"lead\">By the mean IoU of an image's own classes. "
        "Errors are red.</p>\n" +
        samples(d, d.worst);
  }
  if (!d.best.empty()) out += "<h2>Where it is best</h2>\n" + samples(d, d.best);
  if (!d.samples.empty()) out += "<h2>Samples</h2>\n" + samples(d, d.samples);
  if (!d.config.empty())
    out += "<h2>Configuration</h2>\n<pre>" + escape_markup(d.config) + "</pre>\n";
  if (!d.command.empty()) {
    out += "<h2>The same again</h2>\n<pre>" + escape_markup(d.command) + "</pre>\n";
  }
  out += fmt::format("</main>\n<footer>{}</footer>\n</body>\n</html>\n",
                     escape_markup(d.version.empty() ? "Macadam" : "Macadam " + d.version));
  return out;
}

}  // namespace macadam
