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

TEST(Table, RowsThatAreTooWideFollowBehind) {
  Table table = sample();
  const std::string wide(61, 'w');
  table.rows.insert(table.rows.begin() + 1, {"wide", wide});
  table.rows.push_back({std::string(60, 'f'), "1"});
  const std::string text = table_text(table);
  EXPECT_NE(text.find("wide\n  score: " + wide + "\n"), std::string::npos) << text;
  EXPECT_GT(text.find("wide\n"), text.find("=1+1")) << "behind the others";
  EXPECT_NE(text.find("plain" + std::string(60 - 5 + 4, ' ') + "1.5\n"), std::string::npos) << text;
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
