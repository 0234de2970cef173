#include "report/table.h"

#include <gtest/gtest.h>

#include <array>

#include "tests/report/well_formed.h"

namespace macadam {
namespace {

Table sample() {
  return {"A <title>",
          {{"name"}, {"score", true}},
          {{"plain", "1.5"}, {"ü|ber, \"so\"", "–"}, {"=1+1", "22.25"}}};
}

TEST(Table, TextIsAligned) {
  EXPECT_EQ(table_text(sample()),
            "A <title>\n"
            "name         score\n"
            "plain          1.5\n"
            "ü|ber, \"so\"      –\n"
            "=1+1         22.25\n");
}

TEST(Table, MarkdownKeepsItsColumns) {
  EXPECT_EQ(table_markdown(sample()),
            "## A <title>\n\n"
            "| name | score |\n"
            "|---|--:|\n"
            "| plain | 1.5 |\n"
            "| ü\\|ber, \"so\" | – |\n"
            "| =1+1 | 22.25 |\n");
}

TEST(Table, CsvQuotesAndDisarmsFormulas) {
  EXPECT_EQ(table_csv(sample()),
            "name,score\r\nplain,1.5\r\n\"ü|ber, \"\"so\"\"\",–\r\n'=1+1,22.25\r\n");
}

TEST(Table, HtmlIsWellFormedWhateverTheTexts) {
  Table table = sample();
  table.rows.push_back({"<script>alert(1)</script>&", "\x01\xff"});
  const std::string html = tables_html("<b>", std::array{table, Table{"", {{"x"}}, {}}});
  EXPECT_EQ(testing::xml_fault(html), "");
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_NE(html.find("&lt;script&gt;"), std::string::npos);
}

TEST(Table, RowsHaveACellAColumn) {
  Table table = sample();
  table.rows.push_back({"alone"});
  EXPECT_THROW(table_text(table), std::logic_error);
}

}  // namespace
}  // namespace macadam
