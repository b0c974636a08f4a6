// Buttons of Orthanc Explorer, for users who may see decrypted objects.
(function () {
  'use strict';

  function add(page, target, label, address) {
    $('#iomt-crypt-' + target).remove();
    $('<a>', { id: 'iomt-crypt-' + target, href: address, target: '_blank', text: label })
      .attr('data-role', 'button').attr('data-theme', 'b').attr('data-icon', 'search')
      .insertAfter($('#' + page + '-info'))
      .button();
  }

  function whenAllowed(show) {
    $.getJSON('../iomt-crypt/status', function (status) {
      if (status.may_decrypt) { show(); }
    });
  }

  $('#instance').live('pagebeforeshow', function () {
    if (!$.mobile.pageData) { return; }
    var base = '../iomt-crypt/instances/' + encodeURIComponent($.mobile.pageData.uuid);
    whenAllowed(function () {
      add('instance', 'file', 'Download decrypted', base + '/file');
      add('instance', 'preview', 'Preview decrypted', base + '/preview');
    });
  });

  ['study', 'series'].forEach(function (page) {
    $('#' + page).live('pagebeforeshow', function () {
      if (!$.mobile.pageData) { return; }
      var level = page === 'study' ? 'studies' : 'series';
      var address = '../iomt-crypt/' + level + '/' + encodeURIComponent($.mobile.pageData.uuid) + '/archive';
      whenAllowed(function () { add(page, 'archive', 'Download decrypted (ZIP)', address); });
    });
  });
}());
