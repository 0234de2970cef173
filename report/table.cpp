#include "report/table.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "report/markup.h"

namespace macadam {

namespace {

constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; }
body { margin: 2rem auto; padding: 0 1rem; max-width: 80rem;
  font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: left; border-bottom: 1px solid #8886; white-space: nowrap; }
.n { text-align: right; }
)";

void check(const Table& table) {
  for (const auto& row : table.rows) {
    require(row.size() == table.columns.size(), "a cell a column");
  }
}

/// `cell` on one line, with what would end a cell of Markdown escaped.
std::string markdown_cell(std::string_view cell) {
  std::string text;
  for (const char c : cell) {
    if (c == '|' || c == '\\') text += '\\';
    text += c == '\n' || c == '\r' ? ' ' : c;
  }
  return text;
}

std::string csv_cell(std::string_view cell) {
  std::string text;
  if (!cell.empty() && std::string_view("=+@\t\r").find(cell[0]) != std::string_view::npos) {
    text = "'";
  }
  text += cell;
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + "\"";
}

template <typename Cell>
std::string csv_line(size_t count, Cell cell) {
  std::string line;
  for (size_t i = 0; i < count; ++i) line += (i > 0 ? "," : "") + csv_cell(cell(i));
  return line + "\r\n";
}

std::string html_cell(const TableColumn& column, std::string_view tag, std::string_view text) {
  return fmt::format("<{0}{1}>{2}</{0}>", tag, column.number ? " class=\"n\"" : "",
                     escape_markup(text));
}

}  // namespace

std::string table_text(const Table& table) {
  check(table);
  constexpr size_t kWidest = 60;  // characters of a cell
  const auto fits = [](const std::vector<std::string>& row) {
    return std::ranges::all_of(row,
                               [](const std::string& cell) { return text_width(cell) <= kWidest; });
  };
  std::vector<size_t> widths;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    size_t width = text_width(table.columns[i].title);
    for (const auto& row : table.rows) width = std::max(width, fits(row) ? text_width(row[i]) : 0);
    widths.push_back(width);
  }
  std::string text = table.title.empty() ? "" : table.title + "\n";
  const auto add_line = [&](const auto& cell) {
    std::string line;
    for (size_t i = 0; i < widths.size(); ++i) {
      if (i > 0) line += "  ";
      line +=
          table.columns[i].number ? pad_left(cell(i), widths[i]) : pad_right(cell(i), widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  add_line([&](size_t i) { return table.columns[i].title; });
  for (const auto& row : table.rows) {
    if (fits(row)) add_line([&](size_t i) { return row[i]; });
  }
  for (const auto& row : table.rows) {
    if (fits(row)) continue;
    text += row.front() + "\n";
    for (size_t i = 1; i < row.size(); ++i) {
      text += fmt::format("  {}: {}\n", table.columns[i].title, row[i]);
    }
  }
  return text;
}

std::string table_markdown(const Table& table) {
  check(table);
  std::string text =
      table.title.empty() ? "" : fmt::format("## {}\n\n", markdown_cell(table.title));
  for (const TableColumn& column : table.columns) text += "| " + markdown_cell(column.title) + " ";
  text += "|\n";
  for (const TableColumn& column : table.columns) text += column.number ? "|--:" : "|---";
  text += "|\n";
  for (const auto& row : table.rows) {
    for (const std::string& cell : row) text += "| " + markdown_cell(cell) + " ";
    text += "|\n";
  }
  return text;
}

std::string table_csv(const Table& table) {
  check(table);
  std::string text =
      csv_line(table.columns.size(), [&](size_t i) { return table.columns[i].title; });
  for (const auto& row : table.rows) text += csv_line(row.size(), [&](size_t i) { return row[i]; });
  return text;
}

std::string tables_html(std::string_view title, std::span<const Table> tables) {
  std::string text = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n<meta "
      "name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>{0}</title>\n"
      "<style>{1}</style>\n</head>\n<body>\n<h1>{0}</h1>\n",
      escape_markup(title), kStyle);
  for (const Table& table : tables) {
    check(table);
    if (!table.title.empty()) text += fmt::format("<h2>{}</h2>\n", escape_markup(table.title));
    text += "<div><table><thead><tr>";
    for (const TableColumn& column : table.columns) text += html_cell(column, "th", column.title);
    text += "</tr></thead>\n<tbody>\n";
    for (const auto& row : table.rows) {
      text += "<tr>";
      for (size_t i = 0; i < row.size(); ++i) text += html_cell(table.columns[i], "td", row[i]);
      text += "</tr>\n";
    }
    text += "</tbody></table></div>\n";
  }
  return text + "</body>\n</html>\n";
}

std::string tables_as(const std::filesystem::path& file, std::string_view title,
                      std::span<const Table> tables) {
  const std::string ending = file.extension().string();
  if (ending == ".html") return tables_html(title, tables);
  if (ending == ".csv") return table_csv(tables.front());
  if (ending == ".md") {
    std::string text;
    for (const Table& table : tables) text += (text.empty() ? "" : "\n") + table_markdown(table);
    return text;
  }
  throw InputError("a comparison is Markdown, HTML or CSV", file.string(),
                   "name it *.md, *.html or *.csv");
}

}  // namespace macadam
