#include "server/monitor/prometheus.h"

#include <gtest/gtest.h>

#include <array>

using namespace macadam;

namespace {

TEST(MetricsPage, IsPrometheusText) {
  constexpr std::array<double, 2> kBounds{0.5, 2};
  Histogram histogram(kBounds);
  for (const double value : {0.25, 0.5, 1.0, 8.0}) histogram.add(value);
  MetricsPage page;
  page.metric("a_total", "counter", "How many.");
  page.value({{"name", "x\"y\\z\n"}}, uint64_t{3});
  page.metric("b_seconds", "histogram", "How long.");
  page.histogram({{"m", "1"}}, histogram);
  EXPECT_EQ(page.text(),
            "# HELP a_total How many.\n# TYPE a_total counter\n"
            "a_total{name=\"x\\\"y\\\\z\\n\"} 3\n"
            "# HELP b_seconds How long.\n# TYPE b_seconds histogram\n"
            "b_seconds_bucket{m=\"1\",le=\"0.5\"} 2\n"
            "b_seconds_bucket{m=\"1\",le=\"2\"} 3\n"
            "b_seconds_bucket{m=\"1\",le=\"+Inf\"} 4\n"
            "b_seconds_sum{m=\"1\"} 9.75\n"
            "b_seconds_count{m=\"1\"} 4\n");
}

}  // namespace
