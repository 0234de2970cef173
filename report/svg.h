#pragma once
// A few SVG elements, and axes with round tick values.

#include <string>
#include <string_view>
#include <vector>

namespace macadam {

/// Values at round steps (1, 2 or 5 times a power of ten) that lie within [lo, hi], about `count`
/// of them. Requires finite lo < hi and count > 0.
std::vector<double> round_ticks(double lo, double hi, int count);

/// A tick's label: with as many decimals as the step between ticks needs.
std::string tick_label(double value, double step);

/// An SVG document that grows by elements. Text is escaped here.
class Svg {
 public:
  Svg(double width, double height, std::string_view title);

  void rect(double x, double y, double width, double height, std::string_view fill);
  void line(double x0, double y0, double x1, double y1, std::string_view stroke, double width = 1,
            std::string_view dashes = {});
  void circle(double x, double y, double radius, std::string_view fill);

  struct Point {
    double x, y;
  };
  void polyline(const std::vector<Point>& points, std::string_view stroke, double width,
                std::string_view dashes = {});

  struct TextStyle {
    double size = 12;
    std::string_view anchor = "start";  ///< start, middle or end
    std::string_view fill = "#222";
    bool bold = false;
    double turn = 0;  ///< degrees, clockwise
  };
  void text(double x, double y, std::string_view content, const TextStyle& style);

  /// A tooltip for what is drawn between begin_group and end_group.
  void begin_group(std::string_view tooltip);
  void end_group();

  std::string finish() &&;

 private:
  std::string out_;
};

}  // namespace macadam
