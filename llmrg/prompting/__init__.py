"""From requests to messages: prompt files, and titles as data inside them.

Promise: foreign words never become instructions or template source, and static text comes first.
"""
