// Plain tables and numbers for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace thole::cli {

using Row = std::vector<std::string>;

/// Columns as wide as their widest cell; those named in `right` (by index) are set flush right.
std::string FormatTable(const std::vector<Row>& rows, const std::vector<size_t>& right = {});
/// 1234567 -> "1,234,567".
std::string Grouped(uint64_t number);
/// 1610612736 -> "1.5 GiB".
std::string Size(uint64_t bytes);
/// Control bytes and broken UTF-8 as \xNN.
std::string Printable(std::string_view text);

}  // namespace thole::cli
