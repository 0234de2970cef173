#pragma once
// A table of text, in the forms that people take it in.

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace macadam {

struct TableColumn {
  std::string title;
  bool number = false;  // to the right
};

struct Table {
  std::string title;  // may be empty
  std::vector<TableColumn> columns;
  std::vector<std::vector<std::string>> rows;  // a cell a column
};

// Each requires rows of as many cells as there are columns. Texts may be any UTF-8.

/// Columns aligned with spaces, the title above. Rows with a cell of more than 60 characters follow
/// behind, a line a cell.
std::string table_text(const Table& table);
/// GitHub's tables, the title as a heading.
std::string table_markdown(const Table& table);
/// RFC 4180, without the title. A cell that a spreadsheet would take for a formula gets an
/// apostrophe before it.
std::string table_csv(const Table& table);
/// A self-contained page of tables, for light and dark, without scripts.
std::string tables_html(std::string_view title, std::span<const Table> tables);
/// What the ending of the file's name asks for: Markdown, HTML, or the first table as CSV. Throws
/// InputError for another ending.
std::string tables_as(const std::filesystem::path& file, std::string_view title,
                      std::span<const Table> tables);

}  // namespace macadam
