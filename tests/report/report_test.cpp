#include "report/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <regex>

#include "report/markup.h"
#include "report/svg.h"
#include "tests/report/well_formed.h"

namespace macadam {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

EpochRecord record(int epoch, double train_loss, double val_loss, double mean_iou, double mean_dice,
                   double lr) {
  return {.epoch = epoch,
          .train_loss = train_loss,
          .val_loss = val_loss,
          .scores = {{"miou_present", mean_iou}, {"mdice_present", mean_dice}},
          .lr = lr,
          .seconds = 12.5,
          .images_per_second = 31,
          .data_wait_seconds = 0.2};
}

std::vector<EpochRecord> history(int epochs) {
  std::vector<EpochRecord> records;
  for (int e = 1; e <= epochs; ++e) {
    records.push_back(record(e, 1.5 / e, 1.7 / e, 1 - 0.9 / e, 1 - 0.8 / e, 1e-3 / e));
  }
  return records;
}

std::vector<ClassScore> classes() {
  return {{"flat", {128, 64, 128}, 0.91, 0.95, 900, 0.9375, 0.9625},
          {"sky", {70, 130, 180}, kNan, kNan, 0, kNan, kNan}};
}

ReportSample sample(int height, int width) {
  ReportSample s{"maybole_000000", Image(height, width, 3), Image(height, width, 1),
                 Image(height, width, 1)};
  s.truth.pixels.assign(s.truth.pixels.size(), 255);
  return s;
}

ReportData data() {
  ReportData d;
  d.title = "first";
  d.network = "unet_mini";
  d.dataset = "../streets";
  d.label_set = "categories8";
  d.height = 256;
  d.width = 512;
  d.parameters = 7'760'097;
  d.seconds = 754;
  d.best_epoch = 2;
  d.scores = {{"miou_present", 0.7312}, {"boundary_f1", 0.5}};
  d.history = history(3);
  d.classes = classes();
  d.confusion = {90, 10, 0, 0};
  d.config = "network = \"unet_mini\"\n";
  d.samples = {sample(8, 16)};
  return d;
}

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (size_t i = text.find(part); i != std::string::npos; i = text.find(part, i + 1)) ++found;
  return found;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(WellFormed, NoticesFaults) {
  EXPECT_EQ(macadam::testing::xml_fault("<!DOCTYPE html>\n<a b=\"c\"><d/>e &amp; \u2013</a>\n"),
            "");
  for (const char* fault : {"<a>", "<a></b>", "<a b=c/>", "<a b=\"c/>", "<a>&</a>", "<a>&nbsp;</a>",
                            "<a/><b/>", "<a b=\"1\" b=\"2\"/>", "<a>\x01</a>", "<a>\xFF</a>",
                            "<a>\xC3</a>", "x<a/>", "", "<a b=\"<\"/>", "<a b=\"1\"c=\"2\"/>"}) {
    EXPECT_NE(macadam::testing::xml_fault(fault), "") << fault;
  }
}

TEST(Markup, EscapesEverything) {
  EXPECT_EQ(escape_markup("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
  EXPECT_EQ(escape_markup("Stra\u00DFe \U0001F6B2\n"), "Stra\u00DFe \U0001F6B2\n");
  // Control characters, a lone continuation, an overlong form, a surrogate, a cut sequence.
  EXPECT_EQ(escape_markup(std::string_view("\0x", 2)), "\uFFFDx");
  EXPECT_EQ(escape_markup("\x1B\x80"), "\uFFFD\uFFFD");
  EXPECT_EQ(escape_markup("\xC0\xAF"), "\uFFFD\uFFFD");
  EXPECT_EQ(escape_markup("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(escape_markup("ab\xE2\x82"), "ab\uFFFD\uFFFD");
}

TEST(Markup, EncodesBase64) {
  const auto encode = [](std::string_view s) {
    return base64({reinterpret_cast<const uint8_t*>(s.data()), s.size()});
  };
  // The vectors of RFC 4648, section 10.
  EXPECT_EQ(encode(""), "");
  EXPECT_EQ(encode("f"), "Zg==");
  EXPECT_EQ(encode("fo"), "Zm8=");
  EXPECT_EQ(encode("foo"), "Zm9v");
  EXPECT_EQ(encode("foobar"), "Zm9vYmFy");
  EXPECT_EQ(encode("\xFF\xFE\xFD"), "//79");
}

TEST(Markup, WritesNumbersForPeople) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(7'760'097), "7,760,097");
  EXPECT_EQ(percent(0.8734), "87.3%");
  EXPECT_EQ(percent(kNan), "absent");
  EXPECT_EQ(duration(4.21), "4.2 s");
  EXPECT_EQ(duration(48.4), "48 s");
  EXPECT_EQ(duration(725), "12 min 05 s");
  EXPECT_EQ(duration(3599.7), "1 h 00 min");
  EXPECT_EQ(duration(12000), "3 h 20 min");
  EXPECT_EQ(duration(kNan), "\u2013");
}

TEST(Report, SaysWhatAbsentClassesCountAs) {
  ReportData d = data();
  d.classes[1].iou = kNan;
  EXPECT_TRUE(contains(report_html(d), "and does not count in the mean"));
  d.absent = AbsentRule::one;
  EXPECT_TRUE(contains(report_html(d), "and counts as 1 in the mean"));
  EXPECT_FALSE(contains(report_html(d), "does not count"));
  d.absent = AbsentRule::zero;
  EXPECT_TRUE(contains(report_html(d), "and counts as 0 in the mean"));
}

TEST(Ticks, AreRound) {
  EXPECT_EQ(round_ticks(0, 1, 5), (std::vector<double>{0, 0.2, 0.4, 0.6000000000000001, 0.8, 1}));
  EXPECT_EQ(round_ticks(-30, 110, 4), (std::vector<double>{0, 50, 100}));
  EXPECT_EQ(round_ticks(1e-9, 9e-9, 4).size(), 4u);
  EXPECT_EQ(tick_label(0.6000000000000001, 0.2), "0.6");
  EXPECT_EQ(tick_label(50, 50), "50");
  EXPECT_EQ(tick_label(2e-5, 1e-5), "2e-05");
  EXPECT_EQ(tick_label(0, 1e-5), "0");
  EXPECT_EQ(tick_label(0.0005, 0.0005), "0.0005");
}

TEST(Curves, DrawFiveLines) {
  const std::string svg = curves_svg(history(10), 4);
  EXPECT_EQ(macadam::testing::xml_fault(svg), "");
  EXPECT_EQ(count(svg, "<polyline"), 5 + 5);  // and their legends
  EXPECT_EQ(count(svg, "<circle"), 50);
  for (const char* word :
       {"training", "validation", "mean IoU", "mean Dice", "Learning rate", "best epoch: 4"}) {
    EXPECT_TRUE(contains(svg, word)) << word;
  }
  EXPECT_FALSE(contains(curves_svg(history(10)), "best epoch"));
}

TEST(Curves, AreEmptyBeforeTheFirstEpoch) {
  const std::string svg = curves_svg({});
  EXPECT_EQ(macadam::testing::xml_fault(svg), "");
  EXPECT_TRUE(contains(svg, "No epoch"));
}

TEST(Curves, LeaveOutWhatIsNotFinite) {
  std::vector<EpochRecord> records = history(5);
  records[2].val_loss = kNan;
  records[3].train_loss = std::numeric_limits<double>::infinity();
  std::string svg = curves_svg(records);
  EXPECT_EQ(macadam::testing::xml_fault(svg), "");
  EXPECT_EQ(count(svg, "<circle"), 23);
  for (EpochRecord& r : records) {
    r.train_loss = r.val_loss = r.lr = kNan;
    for (Score& score : r.scores) score.value = kNan;
  }
  svg = curves_svg(records);
  EXPECT_EQ(macadam::testing::xml_fault(svg), "");
  EXPECT_EQ(count(svg, "<circle"), 0);
  EXPECT_FALSE(std::regex_search(svg, std::regex("\"[^\"]*(nan|inf)[^\"]*\"")));
}

TEST(Curves, ShowEveryScoreThatAnyEpochHas) {
  std::vector<EpochRecord> records = history(3);
  EXPECT_FALSE(contains(curves_svg(records), "boundary f1"));
  records[1].scores.push_back({"boundary_f1", 0.25});
  const std::string svg = curves_svg(records);
  EXPECT_EQ(macadam::testing::xml_fault(svg), "");
  EXPECT_TRUE(contains(svg, "boundary f1  0.250"));
  EXPECT_TRUE(contains(svg, "mean Dice"));
}

TEST(Curves, ShowTheTermsOfALossWhereItHasSeveral) {
  std::vector<EpochRecord> records = history(3);
  for (EpochRecord& r : records) r.terms = {{"train_ce", 0.5}, {"val_ce", 0.625}};
  EXPECT_EQ(curves_svg(records), curves_svg(history(3)));  // a single one is the loss itself
  for (EpochRecord& r : records) {
    r.terms.insert(r.terms.end(), {{"train_dice", 0.25}, {"val_dice", kNan}});
  }
  const std::string svg = curves_svg(records);
  EXPECT_EQ(macadam::testing::xml_fault(svg), "");
  EXPECT_EQ(count(svg, "<circle"), 3 * (5 + 3));
  for (const char* text :
       {"Loss terms", ">ce  0.500<", ">ce  0.625<", ">dice  0.250<", ">dice  -<"}) {
    EXPECT_EQ(count(svg, text), 1) << text;
  }
}

TEST(Curves, TheLongestLegendOfTermsFits) {
  std::vector<EpochRecord> records = history(2);
  for (EpochRecord& r : records) {
    for (const char* name : {"ce", "focal", "jaccard", "tversky"}) {
      r.terms.push_back({std::string("train_") + name, 0.125});
      r.terms.push_back({std::string("val_") + name, 0.0009765625});
    }
  }
  const std::string svg = curves_svg(records);
  const auto title = static_cast<ptrdiff_t>(svg.find(">Loss terms<"));
  const std::regex row("<text x=\"([0-9.]+)\" y=\"([0-9.]+)\"[^>]*>(training|validation)<");
  double line = 0;
  int rows = 0;
  for (std::sregex_iterator i(svg.begin() + title, svg.end(), row), end; i != end; ++i, ++rows) {
    const double begin = std::stod((*i)[1]) - 6.3 * static_cast<double>((*i)[3].length());
    EXPECT_GT(begin, 64) << (*i)[3];  // the plot's edge
    EXPECT_GT(std::stod((*i)[2]), line);
    line = std::stod((*i)[2]);
  }
  EXPECT_EQ(rows, 2);
}

TEST(Curves, TheLegendsOfAllScoresFit) {
  std::vector<EpochRecord> records = history(2);
  for (EpochRecord& r : records) {
    r.scores = compute_metrics(ConfusionMatrix(2, {7, 1, 1, 2}), AbsentRule::drop).scores;
  }
  const std::string svg = curves_svg(records);
  EXPECT_EQ(macadam::testing::xml_fault(svg), "");
  const std::regex label("<text x=\"([0-9.]+)\" y=\"([0-9.]+)\"[^>]*>((?:mean |pixel|freq)[^<]+)<");
  std::map<std::string, double> lines;  // where the text before it ends on the same line
  int labels = 0;
  for (std::sregex_iterator i(svg.begin(), svg.end(), label), end; i != end; ++i, ++labels) {
    const double right = std::stod((*i)[1]);
    const double left = right - 6.3 * static_cast<double>((*i)[3].length());
    EXPECT_GE(left - 30, 64) << (*i)[3];  // with its stroke right of the plot's edge
    const auto [next, first] = lines.emplace((*i)[2], left - 30);
    EXPECT_TRUE(first || right < next->second) << (*i)[3];  // they come from the right
    next->second = left - 30;
  }
  EXPECT_EQ(labels, 5);
  EXPECT_EQ(lines.size(), 2u);
}

TEST(Curves, HoldOnToTheirFrame) {
  // One epoch, constant values, zeros, huge and negative values: every coordinate stays inside.
  std::vector<std::vector<EpochRecord>> cases = {history(1), history(2), history(300)};
  cases.push_back({record(1, 0, 0, 0, 0, 0), record(2, 0, 0, 0, 0, 0)});
  cases.push_back({record(1, 1e30, -1e30, 1, 1, 1e-12), record(2, 1, 1, 0, 0, 1e-12)});
  cases.push_back(
      {record(7, 0.693, 0.693, 0.5, 0.5, 1e-3), record(9, 0.693, 0.693, 0.5, 0.5, 1e-3)});
  for (const auto& records : cases) {
    const std::string svg = curves_svg(records, records.back().epoch);
    EXPECT_EQ(macadam::testing::xml_fault(svg), "");
    const std::regex coordinate("c[xy]=\"(-?[0-9.]+)\"");
    for (std::sregex_iterator i(svg.begin(), svg.end(), coordinate), end; i != end; ++i) {
      const double value = std::stod((*i)[1]);
      EXPECT_GE(value, 0);
      EXPECT_LE(value, 800);
    }
  }
}

TEST(Confusion, ShowsShares) {
  std::vector<ClassScore> three = classes();
  three.push_back({"car", {0, 0, 142}, 0.5, 0.6, 50});
  const std::vector<uint64_t> matrix = {750, 0, 250, 0, 0, 0, 1, 0, 9999};
  const std::string svg = confusion_svg(three, matrix);
  EXPECT_EQ(macadam::testing::xml_fault(svg), "");
  EXPECT_TRUE(contains(svg, ">75.0<"));
  EXPECT_TRUE(contains(svg, ">25.0<"));
  EXPECT_TRUE(contains(svg, ">100<"));
  EXPECT_TRUE(contains(svg, "flat taken for car: 25.00%"));
  EXPECT_EQ(count(svg, "absent"), 1);
  EXPECT_FALSE(contains(svg, "nan"));
}

TEST(Confusion, HoldsManyClassesAndNone) {
  std::vector<ClassScore> many(34);
  for (size_t i = 0; i < many.size(); ++i) many[i].name = "class <" + std::to_string(i) + ">";
  std::vector<uint64_t> matrix(34 * 34, uint64_t{1} << 50);
  const std::string svg = confusion_svg(many, matrix);
  EXPECT_EQ(macadam::testing::xml_fault(svg), "");
  const std::regex width("^<svg [^>]*width=\"([0-9]+)\"");
  std::smatch match;
  ASSERT_TRUE(std::regex_search(svg, match, width));
  EXPECT_LE(std::stoi(match[1]), 800);
  EXPECT_EQ(macadam::testing::xml_fault(confusion_svg({}, {})), "");
  EXPECT_EQ(macadam::testing::xml_fault(confusion_svg(many, std::vector<uint64_t>(34 * 34))), "");
  EXPECT_THROW(confusion_svg(many, std::vector<uint64_t>(3)), std::logic_error);
}

TEST(Report, IsOneWellFormedFile) {
  const std::string html = report_html(data());
  EXPECT_EQ(macadam::testing::xml_fault(html), "");
  EXPECT_EQ(count(html, "<img "), 4);
  EXPECT_EQ(count(html, "src=\"data:image/png;base64,"), 4);
  EXPECT_EQ(count(html, "<svg "), 2);
  for (const char* part : {"<script", "http-equiv", "<link", "@import", "url("}) {
    EXPECT_FALSE(contains(html, part)) << part;
  }
  // The only addresses are the names of the two XML vocabularies.
  EXPECT_EQ(count(html, "://"), count(html, "http://www.w3.org/1999/xhtml") +
                                    count(html, "http://www.w3.org/2000/svg"));
  for (const char* part : {"7,760,097", "12 min 34 s", "73.1%", "Boundary f1", "50.0%",
                           "512 \u00D7 256", "91.0%", "Precision", "93.8%", "Recall", "96.2%",
                           "absent", "network = &quot;unet_mini&quot;", "maybole_000000"}) {
    EXPECT_TRUE(contains(html, part)) << part;
  }
}

TEST(Report, EscapesWhatItIsGiven) {
  const std::string evil = "</pre><script>alert(\"1\")</script>&\x01\xFF'";
  ReportData d = data();
  d.title = d.network = d.dataset = d.label_set = d.device = d.precision = d.version = d.config =
      evil;
  d.classes[0].name = d.samples[0].name = evil;
  const std::string html = report_html(d);
  EXPECT_EQ(macadam::testing::xml_fault(html), "");
  EXPECT_FALSE(contains(html, "<script"));
  EXPECT_GE(count(html, "&lt;script&gt;"), 10);
}

TEST(Report, ManagesWithNothing) {
  ReportData d;
  EXPECT_EQ(macadam::testing::xml_fault(report_html(d)), "");
  d.scores = {{"miou_present", kNan}, {"pixel_accuracy", kNan}};
  d.seconds = kNan;
  d.classes = classes();
  for (ClassScore& c : d.classes) c.iou = c.dice = kNan;
  d.history = {record(1, kNan, kNan, kNan, kNan, kNan)};
  const std::string html = report_html(d);
  EXPECT_EQ(macadam::testing::xml_fault(html), "");
  EXPECT_FALSE(contains(html, "nan"));
}

}  // namespace
}  // namespace macadam
