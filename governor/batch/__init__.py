"""Running a whole file of jobs under limits: what ``governor batch FILE`` does.

``load`` reads and checks the file, ``runner`` runs its jobs, ``progress`` shows them, ``session``
puts these together; docs/batch-file.md is for users.
"""
