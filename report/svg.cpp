#include "report/svg.h"

#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "report/markup.h"

namespace macadam {

std::vector<double> round_ticks(double lo, double hi, int count) {
  require(std::isfinite(lo) && std::isfinite(hi) && lo < hi && count > 0, "a finite range");
  const double rough = (hi - lo) / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double share = rough / power;
  const double step = power * (share <= 1.0 ? 1 : share <= 2.0 ? 2 : share <= 5.0 ? 5 : 10);
  std::vector<double> ticks;
  // Multiples of the step, not sums: 0.3 must not become 0.30000000000000004.
  const double first = std::ceil(lo / step - 1e-9), last = std::floor(hi / step + 1e-9);
  for (double i = first; i <= last; ++i) ticks.push_back(i == 0 ? 0.0 : i * step);
  return ticks;
}

std::string tick_label(double value, double step) {
  const double size = std::max(std::abs(value), step);
  if (size >= 1e6 || step < 1e-4) return value == 0 ? "0" : fmt::format("{:.2g}", value);
  const int decimals = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
  return fmt::format("{:.{}f}", value, decimals);
}

Svg::Svg(double width, double height, std::string_view title) {
  out_ = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" role=\"img\" "
      "font-family=\"system-ui, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif\">\n"
      "<title>{2}</title>\n",
      width, height, escape_markup(title));
  rect(0, 0, width, height, "#ffffff");
}

void Svg::rect(double x, double y, double width, double height, std::string_view fill) {
  out_ += fmt::format(
      "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n", x, y,
      width, height, fill);
}

void Svg::line(double x0, double y0, double x1, double y1, std::string_view stroke, double width,
               std::string_view dashes) {
  out_ += fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" "
      "stroke-width=\"{:g}\"{}/>\n",
      x0, y0, x1, y1, stroke, width,
      dashes.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", dashes));
}

void Svg::circle(double x, double y, double radius, std::string_view fill) {
  out_ += fmt::format(
      "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:g}\" fill=\"{}\" stroke=\"#fff\" "
      "stroke-width=\"1\"/>\n",
      x, y, radius, fill);
}

void Svg::polyline(const std::vector<Point>& points, std::string_view stroke, double width,
                   std::string_view dashes) {
  out_ += "<polyline points=\"";
  for (const Point& p : points) out_ += fmt::format("{:.1f},{:.1f} ", p.x, p.y);
  out_ += fmt::format(
      "\" fill=\"none\" stroke=\"{}\" stroke-width=\"{:g}\" stroke-linejoin=\"round\" "
      "stroke-linecap=\"round\"{}/>\n",
      stroke, width, dashes.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", dashes));
}

void Svg::text(double x, double y, std::string_view content, const TextStyle& style) {
  out_ += fmt::format(
      "<text x=\"{0:.1f}\" y=\"{1:.1f}\" font-size=\"{2:g}\" text-anchor=\"{3}\" "
      "fill=\"{4}\"{5}{6}>{7}</text>\n",
      x, y, style.size, style.anchor, style.fill, style.bold ? " font-weight=\"600\"" : "",
      style.turn != 0 ? fmt::format(" transform=\"rotate({:g} {:.1f} {:.1f})\"", style.turn, x, y)
                      : "",
      escape_markup(content));
}

void Svg::begin_group(std::string_view tooltip) {
  out_ += fmt::format("<g><title>{}</title>\n", escape_markup(tooltip));
}

void Svg::end_group() { out_ += "</g>\n"; }

std::string Svg::finish() && {
  out_ += "</svg>\n";
  return std::move(out_);
}

}  // namespace macadam
