// An SQLite database and its statements, with errors as values. What is kept in it is the callers'.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace forerun::store {

// One thread at a time, like its Database, which outlives it.
class Statement {
 public:
  enum class Step : uint8_t { kRow, kDone, kFailed };

  Statement(sqlite3* database, const char* text);
  ~Statement();
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // Parameters and columns count as SQLite does: from 1, and from 0.
  Statement& bind(int at, int64_t value);
  Statement& bind(int at, const std::string& text);
  Statement& bind(int at, ByteView bytes);
  Step step();
  int64_t number(int column) const;
  std::string text(int column) const;
  ByteView bytes(int column) const;  // valid until the next step
  // Makes ready for the next execution, with what was bound.
  void reset();

 private:
  sqlite3_stmt* statement_ = nullptr;  // null: the text is wrong; step() fails
};

// One thread at a time.
class Database {
 public:
  // Opens or creates the file. `what` it is stands in errors. ERRORS: kIo, kNoSpace, kCorrupt.
  static Result<std::unique_ptr<Database>> open(const std::string& path, std::string_view what);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  Statement prepare(const char* text) { return {handle_, text}; }
  // Runs statements without parameters and without results.
  Status run(const char* text);
  // Runs a statement without results.
  Status finish(Statement& statement, std::string_view attempted);
  // Returns the first number that a query gives.
  Result<int64_t> number(const char* text);
  // Returns why the last call failed.
  std::unexpected<Error> error(std::string_view attempted) const;
  int64_t last_id() const;
  int64_t changed_rows() const;

 private:
  Database(std::string path, std::string_view what) : path_(std::move(path)), what_(what) {}

  sqlite3* handle_ = nullptr;
  const std::string path_, what_;
};

}  // namespace forerun::store
